"""SQuAD's files, and windows on its passages."""

import json

import numpy as np
import pytest
import tensorflow_datasets as tfds

from albert_jax.data.finetuning import squad
from albert_jax.data.finetuning.squad import Question, read_squad, read_squad_file
from albert_jax.data.finetuning.squad_sample import write_squad_sample
from albert_jax.data.finetuning.windows import WindowSettings, cut_windows, make_windows
from albert_jax.data.tokenizers.registry import load_tokenizer
from albert_jax.errors import InputError

SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


@pytest.fixture
def letters(tmp_path):
  """A tokenizer whose pieces are single letters, alone or within a word."""
  path = tmp_path / "letters.txt"
  alphabet = "abcdefghijklmnopqrstuvwxyz"
  path.write_text("\n".join([*SPECIALS, *alphabet, *("##" + c for c in alphabet)]) + "\n")
  return load_tokenizer(str(path))


def make_document(*questions, context="Ada met Bell in Rome."):
  return {"version": "1.1", "data": [{"title": "t", "paragraphs": [{"context": context, "qas": list(questions)}]}]}


def make_question(name, text="Rome", start=16, **more):
  return {"id": name, "question": "Where?", "answers": [{"text": text, "answer_start": start}], **more}


def write(path, document):
  path.write_text(json.dumps(document), encoding="utf-8")
  return path


def test_reads_the_official_format(tmp_path):
  second = make_question("q2", "Bell", 8, is_impossible=False)
  impossible = {"id": "q3", "question": "Who?", "answers": [], "plausible_answers": [], "is_impossible": True}
  path = write(tmp_path / "train-v2.0.json", make_document(make_question("q1"), second, impossible))
  questions = read_squad_file(path)
  assert [q.id for q in questions] == ["q1", "q2", "q3"]
  assert questions[0] == Question("q1", "Where?", "Ada met Bell in Rome.", (("Rome", 16),))
  assert [q.span for q in questions] == [(16, 20), (8, 12), None]


@pytest.mark.parametrize(
  ("version", "names"),
  [
    (1, ("train-v1.1.json", "dev-v1.1.json")),
    (1, ("train.json", "dev.json")),
    (2, ("train-v2.0.json", "dev-v2.0.json")),
    (2, ("train-v2.json", "dev-v2.json")),
  ],
)
def test_finds_the_files(tmp_path, version, names):
  for name in names:
    write(tmp_path / name, make_document(make_question(name)))
  train, valid = read_squad(version, str(tmp_path))
  assert (train[0].id, valid[0].id) == names


def test_named_files_come_before_the_folder(tmp_path):
  for name in ("train.json", "dev.json", "mine.json"):
    write(tmp_path / name, make_document(make_question(name)))
  train, valid = read_squad(1, str(tmp_path), train=str(tmp_path / "mine.json"))
  assert (train[0].id, valid[0].id) == ("mine.json", "dev.json")


def test_misplaced_answers_are_skipped_in_training_only(tmp_path, capsys):
  document = make_document(make_question("good"), make_question("bad", start=3), make_question("empty", text=" "))
  for name in ("train.json", "dev.json"):
    write(tmp_path / name, document)
  train, valid = read_squad(1, str(tmp_path))
  assert [q.id for q in train] == ["good"]
  assert [q.id for q in valid] == ["good", "bad", "empty"]
  assert "skipped 2 training questions" in capsys.readouterr().err


@pytest.mark.parametrize(
  ("content", "message"),
  [
    ("{", r"train\.json is damaged: it is not JSON \("),
    ("[]", r"train\.json is damaged: it is a list, not an object. SQuAD's files"),
    ({"data": 3}, r"data is 3, not a list"),
    ({"data": []}, r"train\.json holds no questions"),
    ({"data": [{"paragraphs": [{"qas": []}]}]}, r"data\[0\]\.paragraphs\[0\] lacks 'context'"),
    (
      make_document(make_question("x"), {"id": "y", "question": "?"}),
      r"the question 'y' has no answers",
    ),
    (make_document({**make_question("x"), "id": 5}), r"qas\[0\]\.id is 5, not text"),
    (make_document(make_question("x", start="3")), r'qas\[0\]\.answers\[0\]\.answer_start is "3", not a whole'),
    (make_document(make_question("x", start=True)), r"answer_start is true, not a whole number"),
    (make_document({**make_question("x"), "question": "\ud800"}), r"qas\[0\]\.question holds half of a surrogate pair"),
    (make_document(make_question("x"), make_question("x")), r"two questions have the id 'x'"),
    (make_document(make_question("x"), {**make_question("y"), "answers": []}), r"1 of 2 questions have no answer.*:v2"),
    (make_document(make_question("x", start=2)), r"No training question has its answer at answer_start"),
  ],
)
def test_damaged_files_are_named(tmp_path, content, message):
  path = tmp_path / "train.json"
  path.write_text(content if isinstance(content, str) else json.dumps(content))
  write(tmp_path / "dev.json", make_document(make_question("x")))
  with pytest.raises(InputError, match=message):
    read_squad(1, str(tmp_path))


def test_missing_files_are_named(tmp_path):
  with pytest.raises(InputError, match=r"has no train-v2\.0\.json \(or train-v2\.json\): --config\.data\.dir"):
    read_squad(2, str(tmp_path))
  with pytest.raises(InputError, match=r"none\.json cannot be read"):
    read_squad(1, "", train=str(tmp_path / "none.json"))


class SmallSquad(tfds.core.GeneratorBasedBuilder):
  VERSION = tfds.core.Version("1.0.0")

  def _info(self):
    text = tfds.features.Text()
    answers = tfds.features.Sequence({"text": text, "answer_start": np.int32})
    features = tfds.features.FeaturesDict({"id": text, "context": text, "question": text, "answers": answers})
    return tfds.core.DatasetInfo(builder=self, features=features, disable_shuffling=True)

  def _split_generators(self, dl_manager):
    return {split: self._generate_examples(split) for split in ("train", "validation")}

  def _generate_examples(self, split):
    for i in range(3):
      answers = {"text": ["Café", "f"], "answer_start": [3, 5]}
      yield i, {"id": f"{split}{i}", "context": "Im Café.", "question": "Wo?", "answers": answers}


def test_reads_tfds(tmp_path, monkeypatch):
  SmallSquad(data_dir=tmp_path, file_format="array_record").download_and_prepare()
  monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
  monkeypatch.setattr(squad, "_TFDS", {1: "small_squad"})
  train, valid = read_squad(1, "")
  assert [q.id for q in valid] == ["validation0", "validation1", "validation2"]
  assert train[2] == Question("train2", "Wo?", "Im Café.", (("Café", 3), ("f", 5)))
  assert train[0].context is train[1].context


def test_sample_has_its_answers_in_place(tmp_path):
  for version, without in ((1, 0), (2, 1 / 3)):
    train, valid = read_squad(version, write_squad_sample(version, str(tmp_path)))
    assert (len(train), len(valid)) == (640, 120)
    assert sum(not q.answers for q in train) / 640 == pytest.approx(without, abs=0.05)


@pytest.mark.parametrize(
  ("tokens", "room", "stride", "expected"),
  [
    (0, 5, 2, [(0, 0)]),
    (5, 5, 2, [(0, 5)]),
    (6, 5, 2, [(0, 5), (2, 4)]),
    (9, 5, 2, [(0, 5), (2, 5), (4, 5)]),
    (10, 4, 9, [(0, 4), (4, 4), (8, 2)]),  # a stride beyond the room leaves nothing out
  ],
)
def test_windows_by_hand(tokens, room, stride, expected):
  assert cut_windows(tokens, room, stride) == expected


def test_rows_of_windows(letters):
  """Passage of nine tokens a…i, question of two; rows of ten positions leave room for five."""
  question = Question("q", "xyz", "ab cd efghi", (("d ef", 4),))
  windows = make_windows([question], letters, WindowSettings(max_length=10, stride=3, max_question=2))
  shown = []
  for starts, sizes in zip(windows.sequences.starts_X2, windows.sequences.sizes_X2):
    shown.append([letters.pieces(windows.sequences.tokens[s : s + n]) for s, n in zip(starts, sizes)])
  first, second = (["x", "##y"], ["a", "##b", "c", "##d", "e"]), (["x", "##y"], ["##d", "e", "##f", "##g", "##h"])
  assert [tuple(row) for row in shown] == [first, second, (["x", "##y"], ["##g", "##h", "##i"])]
  starts, ends = windows.labels()
  # The answer is d, e and f: only the second window has it all; [CLS] x y [SEP] d is position 4.
  assert (starts.tolist(), ends.tolist()) == ([0, 4, 0], [0, 6, 0])
  assert [windows.passage_slice(x) for x in range(3)] == [slice(4, 9), slice(4, 9), slice(4, 7)]
  # Context of d: 1 on the right in the first window, 0 on the left in the second. Of g: 1 in the second, 0 in the last.
  context = [mask.astype(int).tolist() for mask in windows.has_most_context(0)]
  assert context == [[1, 1, 1, 1, 0], [0, 1, 1, 1, 0], [0, 1, 1]]


def test_size_counts_a_hundredth(letters):
  question = Question("q", "x", " ".join("ab" * 150), ())
  windows = make_windows([question], letters, WindowSettings(max_length=254, stride=200, max_question=1))
  # Windows 0-249 and 200-299. Token 225: 24 + 2.5 in the first, 25 + 1 in the second; 226: 23 + 2.5 and 26 + 1.
  first, second = windows.has_most_context(0)
  assert np.flatnonzero(first).tolist() == list(range(226))
  assert np.flatnonzero(second).tolist() == list(range(26, 100))


def test_equal_context_goes_to_the_first_window(letters):
  question = Question("q", "x", "abcde", ())
  windows = make_windows([question], letters, WindowSettings(max_length=8, stride=2, max_question=1))
  # Windows abcd, cde: c has 1 in the first and 0 in the second, d none in the first and 1 in the second.
  assert [mask.astype(int).tolist() for mask in windows.has_most_context(0)] == [[1, 1, 1, 0], [0, 1, 1]]
  windows = make_windows([question], letters, WindowSettings(max_length=8, stride=3, max_question=1))
  # Windows abcd, de: d has none in both.
  assert [mask.astype(int).tolist() for mask in windows.has_most_context(0)] == [[1, 1, 1, 1], [0, 1]]


def test_label_is_the_least_span_of_tokens_that_covers_the_answer(letters):
  questions = [
    Question(str(i), "x", "ab cd ef", ((text, start),)) for i, (text, start) in enumerate([("b c", 1), ("ab cd ef", 0)])
  ]
  starts, ends = make_windows(questions, letters, WindowSettings(max_length=16, max_question=4)).labels()
  assert (starts.tolist(), ends.tolist()) == ([4, 3], [5, 8])


def test_questions_share_a_passage_and_an_empty_one_has_a_window(letters):
  questions = [Question("1", "x", "ab", ()), Question("2", "xyz", "ab", ()), Question("3", "x", "", ())]
  windows = make_windows(questions, letters, WindowSettings(max_length=16, max_question=4))
  assert windows.sequences.starts_X2[0, 1] == windows.sequences.starts_X2[1, 1]
  assert windows.sequences.lengths.tolist() == [6, 8, 4]
  assert [list(windows.of(q)) for q in range(3)] == [[0], [1], [2]]


@pytest.mark.parametrize(
  ("settings", "message"),
  [
    ({"stride": 0}, "data.stride 0"),
    ({"max_question": 0}, "data.max_question 0"),
    ({"max_length": 67, "max_question": 64}, "data.max_length 67 leaves no room"),
  ],
)
def test_bad_settings_are_named(settings, message):
  with pytest.raises(InputError, match=message):
    WindowSettings(**settings)
