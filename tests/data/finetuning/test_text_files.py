import numpy as np
import pytest

from albert_jax.data.finetuning.text_files import TextFiles, hold_out
from albert_jax.data.finetuning.types import LabelledTexts
from albert_jax.errors import InputError


@pytest.fixture
def folder(tmp_path):
  (tmp_path / "train.csv").write_text("text,other,label,score\na,A,up,1\nb,B,down,2.5\nc,C,up,3\n")
  (tmp_path / "valid.jsonl").write_text('{"text": "d", "other": "D", "label": "down", "score": 4}\n')
  (tmp_path / "test.tsv").write_text("text\tother\ne\tE\n")
  return tmp_path


def test_files_of_three_kinds(folder):
  splits = TextFiles("train.csv", "valid.jsonl", "test.tsv", text_pair="other", dir=str(folder)).read()
  valid, test = splits.evaluations["valid"], splits.predictions_only["test"]
  assert (splits.train.first, splits.train.second) == (["a", "b", "c"], ["A", "B", "C"])
  assert splits.train.labels.tolist() == [1, 0, 1]  # down, up
  assert (valid.first, valid.labels.tolist()) == (["d"], [0])
  assert (test.second, test.labels) == (["E"], None)


def test_labels_come_from_the_training_file_unless_given(folder):
  path, valid = str(folder / "train.csv"), str(folder / "valid.jsonl")
  assert TextFiles(path).find_labels() == ("down", "up")
  assert TextFiles(path, valid, labels=("up", "down")).read().train.labels.tolist() == [0, 1, 0]
  assert TextFiles(path, label="score", regression=True).find_labels() == ()


def test_regression(folder):
  splits = TextFiles("train.csv", "valid.jsonl", label="score", regression=True, dir=str(folder)).read()
  np.testing.assert_array_equal(splits.train.labels, np.array([1, 2.5, 3], np.float32))
  assert splits.evaluations["valid"].labels.dtype == np.float32


def test_without_a_file_to_evaluate_on_a_fraction_is_held_out():
  texts = LabelledTexts([str(i) for i in range(50)], None, np.arange(50, dtype=np.int32))
  train, valid = hold_out(texts, 0.2)
  assert (len(train), len(valid)) == (40, 10)
  assert sorted(train.first + valid.first) == sorted(texts.first)
  assert valid.first == [str(i) for i in valid.labels]
  assert valid.first != texts.first[:10]
  assert hold_out(texts, 0.2)[1].first == valid.first
  assert len(hold_out(texts, 0.001)[1]) == 1


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.5, 0.99])
def test_both_sides_need_rows(fraction):
  texts = LabelledTexts(["a", "b"], None, np.zeros(2, np.int32))
  with pytest.raises(InputError, match=r"data\.valid_fraction=.* of 2 rows"):
    hold_out(texts, fraction)


@pytest.mark.parametrize(
  ("settings", "message"),
  [
    ({"train": ""}, r"No training file: name one with --config\.data\.train=FILE"),
    ({"train": "train.xlsx"}, r"train\.xlsx is no table of a kind that is read here"),
    ({"train": "train.csv", "text": "body"}, r"train\.csv has no column 'body'; its columns are text, other, label"),
    ({"train": "train.csv", "text_pair": "b"}, r"no column 'b'"),
    ({"train": "train.csv", "valid": "none.tsv"}, r"none\.tsv cannot be read"),
    ({"train": "train.csv", "regression": True}, r"train\.csv:2: 'up' in column 'label' is not a number"),
    ({"train": "train.csv", "labels": ("up",)}, r"train\.csv:3: unknown label 'down'"),
    ({"train": "one.tsv"}, r"one\.tsv: every label in column 'label' is 'x'"),
    ({"train": "gap.tsv"}, r"gap\.tsv:3: no label in column 'label'"),
  ],
)
def test_mistakes_are_named(folder, settings, message):
  (folder / "one.tsv").write_text("text\tlabel\na\tx\nb\tx\n")
  (folder / "gap.tsv").write_text("text\tlabel\na\tx\nb\t\nc\ty\n")
  with pytest.raises(InputError, match=message):
    TextFiles(dir=str(folder), **settings).read()
