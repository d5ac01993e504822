"""RACE: questions on articles with four answers to choose from (arXiv 1704.04683), from the official files.

The set of TFDS holds lists of lists, which it can neither write nor read without TensorFlow.
"""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from albert_jax.data.finetuning.types import LabelledTexts, Reader, Splits
from albert_jax.errors import InputError
from albert_jax.json_files import read_json

LETTERS = ("A", "B", "C", "D")
LEVELS = ("middle", "high")
_SHAPE = {"article": str, "questions": [str], "options": [[str]], "answers": [str]}
Question = tuple[str, str, list[str], int]  # article, question, options, number of the right one


@dataclasses.dataclass(frozen=True)
class RaceFiles(Reader):
  """The official folder, `dir/{train,dev,test}/{middle,high}/*.txt`.

  The splits to evaluate on are `valid` and, where it is there, `test`, whose labels are public.
  """

  dir: str

  def find_labels(self) -> tuple[str, ...]:
    """The letters of the answers."""
    return LETTERS

  def read(self) -> Splits:
    """Reads the files.

    Raises:
      InputError: the folder lacks files, or one is damaged.
    """
    root = Path(self.dir)
    if not self.dir or not (root / "train").is_dir():
      raise InputError(
        f"{self.dir or 'data.dir'} holds no RACE: --config.data.dir must name the folder that has train/, dev/ and "
        "test/, from the site of the dataset."
      )
    evaluations = {"valid": _read_split(root / "dev")}
    if (root / "test").is_dir():
      evaluations["test"] = _read_split(root / "test")
    return Splits(_read_split(root / "train"), evaluations, {})


def join_option(question: str, option: str) -> str:
  """Fills the option into the blanks of a question, `_`, or appends it to one without; as the original code does."""
  return question.replace("_", option) if "_" in question else f"{question} {option}"


def _read_split(folder: Path) -> LabelledTexts:
  paths = [path for level in LEVELS for path in sorted((folder / level).glob("*.txt"))]
  if not paths:
    raise InputError(f"{folder} has no {LEVELS[0]}/*.txt or {LEVELS[1]}/*.txt.")
  first, second, labels = [], [], []
  for path in paths:
    for article, question, options, answer in _read_questions(path):
      first += [article] * len(LETTERS)
      second += [join_option(question, option) for option in options]
      labels.append(answer)
  return LabelledTexts(first, second, np.array(labels, np.int32), len(LETTERS))


def _read_questions(path: Path) -> Iterator[Question]:
  record = read_json(path, _SHAPE, hint="Fetch the data set again.")
  article, columns = record["article"], [record[key] for key in ("questions", "options", "answers")]
  if len({len(column) for column in columns}) != 1:
    raise InputError(f"{path}: {' '.join(str(len(column)) for column in columns)} questions, options and answers.")
  for number, (question, options, answer) in enumerate(zip(*columns), start=1):
    if len(options) != len(LETTERS) or answer not in LETTERS:
      raise InputError(
        f"{path}: question {number} has {len(options)} options and the answer {answer!r}; RACE has four, A to D."
      )
    yield article, question, options, LETTERS.index(answer)
