"""SQuAD 1.1 and 2.0 (arXiv 1606.05250, 1806.03822): questions on passages, from the official files or from TFDS."""

import dataclasses
from pathlib import Path

from albert_jax.data.finetuning.tfds import read_tfds_split
from albert_jax.errors import InputError
from albert_jax.json_files import read_json
from albert_jax.messages import say

_FILES = {  # by version and split, the official name first
  (1, "train"): ("train-v1.1.json", "train.json"),
  (1, "dev"): ("dev-v1.1.json", "dev.json"),
  (2, "train"): ("train-v2.0.json", "train-v2.json"),
  (2, "dev"): ("dev-v2.0.json", "dev-v2.json"),
}
_QUESTION = {"id": str, "question": str, "is_impossible?": bool, "answers?": [{"text": str, "answer_start": int}]}
_SHAPE = {"data": [{"paragraphs": [{"context": str, "qas": [_QUESTION]}]}]}
_TFDS = {1: "squad/v1.1", 2: "squad/v2.0"}


@dataclasses.dataclass(frozen=True)
class Question:
  """A question on a passage.

  Attributes:
    id: as in the file.
    text: the question.
    context: the passage; questions on the same passage share the string.
    answers: what people answered, (text, first character in the context); none where the passage does not answer it.
  """

  id: str
  text: str
  context: str
  answers: tuple[tuple[str, int], ...]

  @property
  def span(self) -> tuple[int, int] | None:
    """Characters of the first answer that is in the context where it is said to be."""
    for text, start in self.answers:
      if text.strip() and start >= 0 and self.context.startswith(text, start):
        return start, start + len(text)
    return None


def read_squad(version: int, directory: str, train: str = "", valid: str = "") -> tuple[list[Question], list[Question]]:
  """Reads the questions to train and to evaluate on.

  Args:
    version: 1 for SQuAD 1.1, where every question has an answer, or 2 for SQuAD 2.0.
    directory: holds train-v1.1.json and dev-v1.1.json, or those of v2.0; "" reads TFDS.
    train: a file to read instead.
    valid: the same.

  Returns:
    Training questions, without those whose answer is not where the file says, and evaluation questions, all of them.

  Raises:
    InputError: a file is missing, damaged or empty, or has questions without an answer in version 1.
  """
  splits = []
  for split, path in ("train", train), ("dev", valid):
    if path or directory:
      path = Path(path) if path else _find(version, split, Path(directory))
      questions = read_squad_file(path)
    else:
      path, questions = f"tfds:{_TFDS[version]}", _read_tfds(version, split)
    _check(path, questions, version)
    splits.append(questions)
  return _well_placed(splits[0]), splits[1]


def read_squad_file(path: Path) -> list[Question]:
  """The questions of one file, in its order.

  Raises:
    InputError: the file cannot be read, or is not as SQuAD's files are.
  """
  questions = []
  for article in read_json(path, _SHAPE, hint="SQuAD's files are data, paragraphs, qas, answers.")["data"]:
    for paragraph in article["paragraphs"]:
      for record in paragraph["qas"]:
        if record.get("is_impossible"):
          answers = ()
        elif "answers" in record:
          answers = tuple((answer["text"], answer["answer_start"]) for answer in record["answers"])
        else:
          raise InputError(f"{path}: the question {record['id']!r} has no answers, and is not marked is_impossible.")
        questions.append(Question(record["id"], record["question"], paragraph["context"], answers))
  return questions


def _find(version: int, split: str, directory: Path) -> Path:
  names = _FILES[version, split]
  for name in names:
    if (directory / name).is_file():
      return directory / name
  raise InputError(
    f"{directory} has no {names[0]} (or {names[1]}): --config.data.dir must name the folder with SQuAD's files; "
    f"or name the files, with --config.data.train and --config.data.valid."
  )


def _read_tfds(version: int, split: str) -> list[Question]:
  columns = ("id", "context", "question", "answers")
  found = read_tfds_split(_TFDS[version], {"dev": "validation"}.get(split, split), columns)
  contexts: dict[bytes, str] = {}
  questions = []
  for name, context, text, answers in zip(*(found[column] for column in columns)):
    shared = contexts.setdefault(context, context.decode())
    pairs = tuple((t.decode(), int(start)) for t, start in zip(answers["text"], answers["answer_start"]))
    questions.append(Question(name.decode(), text.decode(), shared, pairs))
  return questions


def _check(path: Path | str, questions: list[Question], version: int) -> None:
  if not questions:
    raise InputError(f"{path} holds no questions.")
  seen: set[str] = set()
  for question in questions:
    if question.id in seen:
      raise InputError(f"{path}: two questions have the id {question.id!r}; predictions go by id.")
    seen.add(question.id)
  if version == 1 and (unanswered := sum(not question.answers for question in questions)):
    raise InputError(
      f"{path}: {unanswered:,} of {len(questions):,} questions have no answer, as in SQuAD 2.0: "
      "use --config=configs/squad.py:v2."
    )


def _well_placed(questions: list[Question]) -> list[Question]:
  kept = [question for question in questions if question.span or not question.answers]
  if len(kept) < len(questions):
    say(
      f"skipped {len(questions) - len(kept):,} training questions: the answer is not in the passage where it should be"
    )
  if not kept:
    raise InputError("No training question has its answer at answer_start, which counts characters from 0.")
  return kept
