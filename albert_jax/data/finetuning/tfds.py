"""Labelled data from TFDS, without TensorFlow."""

from collections.abc import Sequence
from typing import Any

from albert_jax.data.text.tfds import open_builder
from albert_jax.errors import InputError

ROWS_PER_READ = 1024


def read_tfds_split(name: str, split: str, columns: Sequence[str]) -> dict[str, list[Any]]:
  """Reads some features of every row of a split; texts are bytes.

  Args:
    name: `NAME/CONFIG`, prepared under `$TFDS_DATA_DIR` or downloaded.
    split: the split.
    columns: the features.

  Raises:
    InputError: the data cannot be opened, or lacks the split or a feature.
  """
  try:
    builder = open_builder(name)
  except InputError as error:
    raise InputError(f"{error} Or name a folder of the official files with --config.data.dir=DIR.") from error
  if split not in builder.info.splits:
    raise InputError(f"tfds:{name} has no split {split!r}; it has {', '.join(builder.info.splits)}.")
  missing = [column for column in columns if column not in builder.info.features]
  if missing:
    raise InputError(f"tfds:{name} has no feature {missing[0]!r}; it has {', '.join(builder.info.features)}.")
  source = builder.as_data_source(split=split)
  found = {column: [] for column in columns}
  for first in range(0, len(source), ROWS_PER_READ):
    for row in source.__getitems__(range(first, min(first + ROWS_PER_READ, len(source)))):
      for column in columns:
        found[column].append(row[column])
  return found
