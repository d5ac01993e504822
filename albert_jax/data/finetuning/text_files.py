"""Labelled texts of the user: .tsv, .csv and .jsonl files with a column of text, or two, and a column of labels."""

import dataclasses
from pathlib import Path

import numpy as np

from albert_jax.data.finetuning.tables import Table, find_classes, find_labels, find_scores, read_table
from albert_jax.data.finetuning.types import LabelledTexts, Reader, Splits
from albert_jax.data.random import permute
from albert_jax.errors import InputError

_SPLIT_KEY = np.uint64(0x5EED)  # the same rows are held out whatever the seed of a run, so that seeds compare


@dataclasses.dataclass(frozen=True)
class TextFiles(Reader):
  """The files, as `config.data` names them.

  Attributes:
    train: the file to train on.
    valid: the file to evaluate on, or "".
    test: a file to predict, without labels, or "".
    text, text_pair: the columns of segments A and B; without pairs, "".
    label: the column of labels.
    valid_fraction: of the training rows, held out where there is no file to evaluate on.
    regression: labels are numbers.
    labels: names of the classes in the order of the outputs; () = those of the training file, sorted.
    dir: where relative paths start.
  """

  train: str
  valid: str = ""
  test: str = ""
  text: str = "text"
  text_pair: str = ""
  label: str = "label"
  valid_fraction: float = 0.1
  regression: bool = False
  labels: tuple[str, ...] = ()
  dir: str = ""

  def find_labels(self) -> tuple[str, ...]:
    """The names of the classes; none in a regression.

    Raises:
      InputError: there are fewer than two, a row has none, or two are the same but for how they are written.
    """
    if self.regression or self.labels:
      return tuple(self.labels)
    return find_classes(self._table(self.train), self.label)

  def read(self) -> Splits:
    """Reads the files.

    Raises:
      InputError: a file or column is missing, a file is damaged, or a label is unknown.
    """
    labels = self.find_labels()
    train = self._read(self.train, labels)
    if self.valid:
      valid = self._read(self.valid, labels)
    else:
      train, valid = hold_out(train, self.valid_fraction)
    return Splits(train, {"valid": valid}, {"test": self._read(self.test, labels, False)} if self.test else {})

  def _read(self, path: str, labels: tuple[str, ...], labelled: bool = True) -> LabelledTexts:
    table = self._table(path, labelled)
    found = None
    if labelled:
      found = find_scores(table, self.label) if self.regression else find_labels(table, self.label, labels)
    return LabelledTexts(table.columns[self.text], table.columns[self.text_pair] if self.text_pair else None, found)

  def _table(self, path: str, labelled: bool = True) -> Table:
    if not path:
      raise InputError("No training file: name one with --config.data.train=FILE (.tsv, .csv or .jsonl).")
    if Path(path).suffix not in (".tsv", ".csv", ".jsonl"):
      raise InputError(f"{path} is no table of a kind that is read here: .tsv, .csv or .jsonl.")
    columns = [self.text, *([self.text_pair] if self.text_pair else []), *([self.label] if labelled else [])]
    return read_table(Path(self.dir) / path, columns)


def hold_out(texts: LabelledTexts, fraction: float) -> tuple[LabelledTexts, LabelledTexts]:
  """Splits off a fraction of the examples, at least one, chosen at random but always the same.

  Raises:
    InputError: nothing would be left on one side.
  """
  rows = len(texts)
  held = max(1, round(fraction * rows))
  if not 0 < fraction < 1 or held >= rows:
    raise InputError(
      f"data.valid_fraction={fraction} of {rows} rows leaves nothing to train or to evaluate on; name a file with "
      "--config.data.valid=FILE, or choose another fraction."
    )
  out = permute(np.arange(rows), np.full(rows, rows), np.full(rows, _SPLIT_KEY)) < held
  return texts.select(np.flatnonzero(~out)), texts.select(np.flatnonzero(out))
