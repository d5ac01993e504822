"""The types that every reader of labelled data returns."""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np

from albert_jax.data.text.base import Source, digest


@dataclasses.dataclass(frozen=True)
class LabelledTexts:
  """The examples of a split.

  Attributes:
    first: segment A of each sequence.
    second: segment B, or None in tasks of single texts.
    labels: int32 classes or float32 scores, one an example; None where they are not told.
    choices: sequences in an example, or None for one that is not a choice.
  """

  first: Sequence[str]
  second: Sequence[str] | None
  labels: np.ndarray | None
  choices: int | None = None

  def __len__(self):
    return len(self.first) // (self.choices or 1)

  def select(self, index: np.ndarray) -> "LabelledTexts":
    """The examples `index`, in that order; only where an example is one sequence."""
    first = [self.first[i] for i in index]
    second = None if self.second is None else [self.second[i] for i in index]
    return LabelledTexts(first, second, None if self.labels is None else self.labels[index])


@dataclasses.dataclass(frozen=True)
class Splits:
  """Labelled data, read.

  Attributes:
    train: what is trained on.
    evaluations: labelled splits by name; the first decides where one must.
    predictions_only: unlabelled splits by name.
  """

  train: LabelledTexts
  evaluations: Mapping[str, LabelledTexts]
  predictions_only: Mapping[str, LabelledTexts]


class Reader(Protocol):
  """Labelled data on disk.

  Attributes:
    limits: of a predicted number.
  """

  limits: tuple[float, float] = (-math.inf, math.inf)

  def find_labels(self) -> tuple[str, ...]:
    """Names of the classes, in the order of their numbers; none in a regression."""

  def read(self) -> Splits:
    """Reads everything; InputError where that cannot be done."""

  def file_name(self, split: str) -> str:
    """The file name under which the predictions for a split are submitted."""
    return f"{split}.tsv"


@dataclasses.dataclass(frozen=True)
class TextsSource(Source):
  """The texts of a split as a source of plain text, to train a tokenizer on; a text is a document."""

  spec: str
  texts: tuple[str, ...]
  shards = ("texts",)

  @property
  def fingerprint(self) -> str:
    """Hashes the texts."""
    return digest("texts", 1, self.texts)

  def read(self, shard: str) -> Iterator[tuple[str, str]]:
    """Yields (number, text)."""
    return ((str(i), text) for i, text in enumerate(self.texts))
