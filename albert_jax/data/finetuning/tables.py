"""Tables of text: .tsv, .csv and .jsonl, read with the number of each line so that mistakes can be found."""

import csv
import dataclasses
import io
import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from albert_jax.errors import InputError
from albert_jax.files import read_text
from albert_jax.json_files import find_problem, parse_json
from albert_jax.messages import say

# What stands for a missing value where programs write tables; pandas reads each of them as one.
_MISSING = {"", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN"}
_MISSING |= {"<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"}
Row = tuple[int, list[str]]  # number of the line, values


@dataclasses.dataclass(frozen=True)
class Table:
  """Columns of a file.

  Attributes:
    path: the file.
    columns: values by column.
    lines: the line of each row, from 1.
  """

  path: Path
  columns: dict[str, list[str]]
  lines: list[int]

  def __len__(self):
    return len(self.lines)


def read_table(
  path: Path, columns: Sequence[str], *, header: Sequence[str] | None = None, skip_short: bool = False
) -> Table:
  """Reads some columns of a table.

  A .csv file may quote its values, and a quoted value may span lines; in .tsv (and .txt) a quotation mark is a
  character like any other. A line of .jsonl is an object.

  Args:
    path: the file.
    columns: the names of the columns that are wanted.
    header: the names of all columns, in a file whose first line is a row already.
    skip_short: skip rows of too few values and tell how many there were, rather than stop.

  Raises:
    InputError: the file cannot be read, is not UTF-8, is damaged or has no rows, or a column is missing.
  """
  text = read_text(path, hint="Check the path.")
  if path.suffix == ".jsonl":
    return _require_rows(_read_objects(path, text, columns))
  rows = _csv_rows(path, text) if path.suffix == ".csv" else _tsv_rows(text)
  if header is None:
    _, header = next(rows, (0, None))
    if header is None:
      raise InputError(f"{path} is empty.")
  missing = [column for column in columns if column not in header]
  if missing:
    raise InputError(f"{path} has no column {', '.join(map(repr, missing))}; its columns are {', '.join(header)}.")
  if twice := [column for column in columns if header.count(column) > 1]:
    raise InputError(f"{path} has two columns {twice[0]!r}: give one of them another name.")
  width = len(header)
  kept, short = [], 0
  for line, values in rows:
    if len(values) == width:
      kept.append((line, values))
    elif skip_short and len(values) < width:
      short += 1
    else:
      raise InputError(f"{path}:{line}: {len(values)} values, but there are {width} columns ({', '.join(header)}).")
  if short:
    say(f"{path}: skipped {short:,} rows of too few values")
  found = {column: [values[place] for _, values in kept] for column in columns for place in [header.index(column)]}
  return _require_rows(Table(path, found, [line for line, _ in kept]))


def find_classes(table: Table, column: str) -> tuple[str, ...]:
  """The different values of a column, sorted: the classes of a set that does not name them.

  Raises:
    InputError: a value is missing, there are fewer than two, or two can only be the same class, written differently.
  """
  values = table.columns[column]
  classes = tuple(sorted(set(values)))
  alike: dict[str | float, str] = {}
  for value in classes:
    line = table.lines[values.index(value)]
    meaning = _meaning(value)
    if value.strip() in _MISSING or meaning != meaning:
      raise InputError(
        f"{table.path}:{line}: no label in column {column!r}, but {value!r}: fill it in, leave the row out, or name "
        "the classes, as in --config.data.labels=LABEL,LABEL."
      )
    other = alike.setdefault(meaning, value)
    if other != value:
      raise InputError(
        f"{table.path}: the labels {other!r} (line {table.lines[values.index(other)]}) and {value!r} (line {line}) in "
        f"column {column!r} differ only in how they are written: write one of them, or name the classes, as in "
        "--config.data.labels=LABEL,LABEL."
      )
  if len(classes) < 2:
    raise InputError(
      f"{table.path}: every label in column {column!r} is {classes[0]!r}; a classifier needs two labels or more."
    )
  return classes


def _meaning(label: str) -> str | float:
  """What labels have in common that programs and people write differently: 1, 1.0 and 01; Yes and yes."""
  try:
    return float(label)
  except ValueError:
    return label.strip().casefold()


def find_labels(table: Table, column: str, labels: Sequence[str]) -> np.ndarray:
  """The place of each value in `labels`, int32.

  Raises:
    InputError: a value is not among the labels.
  """
  place = {label: i for i, label in enumerate(labels)}
  found = [place.get(value, -1) for value in table.columns[column]]
  if -1 in found:
    row = found.index(-1)
    raise InputError(
      f"{table.path}:{table.lines[row]}: unknown label {table.columns[column][row]!r} in column {column!r}; "
      f"the labels are {', '.join(labels)}."
    )
  return np.array(found, np.int32)


def find_scores(table: Table, column: str) -> np.ndarray:
  """The values as numbers, float32.

  Raises:
    InputError: one is not a finite number, or too large for float32.
  """
  scores = []
  for line, value in zip(table.lines, table.columns[column]):
    try:
      scores.append(float(value))
    except ValueError:
      scores.append(math.nan)
    if not abs(scores[-1]) <= float(np.finfo(np.float32).max):
      raise InputError(f"{table.path}:{line}: {value!r} in column {column!r} is not a number that float32 holds.")
  return np.array(scores, np.float32)


def _tsv_rows(text: str) -> Iterator[Row]:
  for number, line in enumerate(text.split("\n"), start=1):
    values = line.removesuffix("\r")
    if values:  # as in .csv, an empty line holds no row
      yield number, values.split("\t")


def _csv_rows(path: Path, text: str) -> Iterator[Row]:
  csv.field_size_limit(min(sys.maxsize, 2**31 - 1))  # a value may be a long document
  reader = csv.reader(io.StringIO(text, newline=""), strict=True)
  line = 1
  try:
    for values in reader:
      if values:
        yield line, values
      line = reader.line_num + 1
  except csv.Error as error:
    raise InputError(f"{path}:{line}: {error}.") from error


def _read_objects(path: Path, text: str, columns: Sequence[str]) -> Table:
  table = Table(path, {column: [] for column in columns}, [])
  shape = dict.fromkeys(columns, (str, float, bool))
  for number, line in enumerate(text.split("\n"), start=1):
    if not line.strip():
      continue
    where = f"{path}:{number}"
    record = parse_json(line, {}, where=where, hint="A .jsonl file holds one object a line.")
    if problem := find_problem(record, shape):
      raise InputError(f"{where}: {problem}; its keys are {', '.join(record)}.")
    for column in columns:
      table.columns[column].append(str(record[column]))
    table.lines.append(number)
  return table


def _require_rows(table: Table) -> Table:
  if not len(table):
    raise InputError(f"{table.path} has no rows.")
  return table
