import json

import pytest

from albert_jax.data.finetuning.race import RaceFiles, join_option
from albert_jax.errors import InputError

RECORD = dict(
  id="middle1.txt",
  article="Ann has a dog.",
  questions=["What has Ann ?", "Ann has a _ ."],
  options=[["a cat", "a dog", "a bird", "none"], ["cat", "fish", "bird", "dog"]],
  answers=["B", "D"],
)


def write(folder, splits=("train", "dev", "test"), **changes):
  for split in splits:
    for level in ("middle", "high"):
      path = folder / split / level / "1.txt"
      path.parent.mkdir(parents=True)
      path.write_text(json.dumps({**RECORD, "article": f"{level} of {split}", **changes}))
  return RaceFiles(str(folder))


def test_an_example_is_four_pairs(tmp_path):
  splits = write(tmp_path).read()
  assert list(splits.evaluations) == ["valid", "test"]
  assert len(splits.train) == 4
  assert splits.train.choices == 4
  assert splits.train.first == ["middle of train"] * 8 + ["high of train"] * 8
  assert splits.train.second[1] == "What has Ann ? a dog"
  assert splits.train.second[7] == "Ann has a dog ."
  assert splits.train.labels.tolist() == [1, 3, 1, 3]
  assert splits.evaluations["valid"].first[0] == "middle of dev"
  assert RaceFiles("").find_labels() == ("A", "B", "C", "D")


def test_every_blank_is_filled():
  assert join_option("a _ and a _", "b") == "a b and a b"
  assert join_option("why ?", "so") == "why ? so"


def test_the_test_split_may_be_missing(tmp_path):
  assert list(write(tmp_path, ("train", "dev")).read().evaluations) == ["valid"]


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"answers": ["B"]}, r"1\.txt: 2 2 1 questions, options and answers"),
    ({"answers": ["B", "E"]}, r"1\.txt: question 2 has 4 options and the answer 'E'"),
    ({"options": [["a", "b"], ["c", "d"]]}, r"1\.txt: question 1 has 2 options"),
    ({"questions": None}, r"1\.txt is damaged: questions is null"),
    ({"options": [["a", "b", "c", 4], ["a", "b", "c", "d"]]}, r"1\.txt is damaged: options"),
    ({"article": "\ud800"}, r"1\.txt is damaged"),
    ({"answers": [1, 2]}, r"1\.txt is damaged: answers"),
  ],
)
def test_damaged_files_are_named(tmp_path, changes, message):
  with pytest.raises(InputError, match=message):
    write(tmp_path, **changes).read()


def test_missing_files_are_named(tmp_path):
  with pytest.raises(InputError, match=r"data\.dir holds no RACE: --config\.data\.dir must name"):
    RaceFiles("").read()
  with pytest.raises(InputError, match=r"dev has no middle/\*\.txt or high/\*\.txt"):
    write(tmp_path, ("train",)).read()
  path = tmp_path / "train/high/1.txt"
  path.write_text("{")
  (tmp_path / "dev/middle").mkdir(parents=True)
  (tmp_path / "dev/middle/1.txt").write_text(json.dumps(RECORD))
  with pytest.raises(InputError, match=r"high/1\.txt is damaged: it is not JSON"):
    RaceFiles(str(tmp_path)).read()
  path.write_text('{"article": "a"}')
  with pytest.raises(InputError, match=r"high/1\.txt is damaged.*questions"):
    RaceFiles(str(tmp_path)).read()
