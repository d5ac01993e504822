"""Results of the methods of a loaded model."""

import dataclasses
from collections.abc import Sequence

import numpy as np


@dataclasses.dataclass(frozen=True)
class Filling:
  """A piece in the place of a mask.

  Attributes:
    text: the piece, without the marks that say whether it begins a word.
    probability: among all pieces.
    sentence: the text that was given, with the piece in the place of this mask.
    token: the piece's id.
  """

  text: str
  probability: float
  sentence: str
  token: int


@dataclasses.dataclass(frozen=True)
class Label:
  """The class of a text.

  Attributes:
    label: the likeliest.
    probability: its own.
    probabilities: of every label, in the order of the classifier's outputs.
  """

  label: str
  probability: float
  probabilities: dict[str, float]


@dataclasses.dataclass(frozen=True)
class Choice:
  """One of several options.

  Attributes:
    option: the likeliest, as it was given.
    number: which it is, from 0.
    probabilities: of every option.
  """

  option: str
  number: int
  probabilities: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class Answer:
  """A part of a context that answers a question, or "" where it says nothing.

  Attributes:
    text: `context[start:end]`.
    probability: among the best answers.
    start, end: characters of the context; both 0 where the text is "".
  """

  text: str
  probability: float
  start: int
  end: int


def make_label(labels: Sequence[str], logits_C: np.ndarray) -> Label | float:
  """The class of a text; without labels, the number that a regression gives."""
  if not labels:
    return float(logits_C[0])
  probabilities = dict(zip(labels, _softmax(logits_C)))
  best = max(probabilities, key=probabilities.get)
  return Label(best, probabilities[best], probabilities)


def make_choice(options: Sequence[str], logits_C: np.ndarray) -> Choice:
  """The option of the highest logit."""
  number = int(np.argmax(logits_C))
  return Choice(options[number], number, tuple(_softmax(logits_C)))


def _softmax(logits_C: np.ndarray) -> list[float]:
  weights = np.exp(logits_C.astype(np.float64) - logits_C.max())
  return (weights / weights.sum()).tolist()
