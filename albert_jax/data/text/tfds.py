"""Text from any TFDS dataset, read at random without TensorFlow."""

import dataclasses
import difflib
import functools
import importlib
import os
from collections.abc import Iterator
from pathlib import Path

from albert_jax.data.text.base import Source, digest
from albert_jax.errors import InputError
from albert_jax.files import require_file
from albert_jax.messages import say

ROWS_PER_SHARD = 10_000
ROWS_PER_READ = 256


@dataclasses.dataclass(frozen=True)
class TfdsSource(Source):
  """The `train` split of a TFDS dataset; a shard is a range of rows, and a row is a document.

  `name` is a dataset's name (`NAME`, `NAME/CONFIG`, `NAME/CONFIG:VERSION`), prepared under `$TFDS_DATA_DIR` (default
  ~/tensorflow_datasets) and downloaded where it is not there yet, or the folder of a prepared dataset
  (`.../NAME/CONFIG/VERSION`). It must be stored as array_record, the format that needs no TensorFlow.
  """

  name: str
  text_key: str = "text"

  @property
  def spec(self) -> str:
    """`tfds:NAME`."""
    return f"tfds:{self.name}"

  @functools.cached_property
  def shards(self) -> tuple[str, ...]:
    """Ranges of rows, `START-STOP`."""
    rows = self._builder.info.splits["train"].num_examples
    starts = range(0, rows, ROWS_PER_SHARD)
    return tuple(f"{start}-{min(start + ROWS_PER_SHARD, rows)}" for start in starts)

  @functools.cached_property
  def fingerprint(self) -> str:
    """Hashes the dataset's full name and version, its size, and the text's key."""
    info = self._builder.info
    split = info.splits["train"]
    return digest("tfds", 1, info.full_name, int(split.num_bytes), list(split.shard_lengths), self.text_key)

  def read(self, shard: str) -> Iterator[tuple[str, str]]:
    """Yields (row number, text)."""
    start, stop = map(int, shard.split("-"))
    first = start
    try:
      source = self._builder.as_data_source(split="train")
      for first in range(start, stop, ROWS_PER_READ):
        numbers = range(first, min(first + ROWS_PER_READ, stop))
        for number, row in zip(numbers, source.__getitems__(numbers)):
          if row[self.text_key] is None:  # what ArrayRecord makes of a truncated file
            raise ValueError(f"row {number} is empty")
          if text := row[self.text_key].decode("utf-8").replace("\r\n", "\n").strip():
            yield str(number), text
    except (OSError, RuntimeError, ValueError, IndexError) as e:
      raise InputError(
        f"tfds:{self.name}: the rows from {first} on cannot be read ({_first_line(e)}). Is a file of "
        f"{self._builder.data_path} truncated or damaged? Prepare the dataset anew."
      ) from e

  @functools.cached_property
  def _builder(self):
    builder = open_builder(self.name)
    _check(builder, self.name, self.text_key)
    return builder


def open_builder(name: str):
  """The builder of a dataset by name or by folder, prepared and stored as array_record.

  Raises:
    InputError: there is no such dataset, it cannot be prepared, or only TensorFlow can read it.
  """
  builder = _open_folder(name) if os.path.isdir(name) else _open_name(name)
  _check_format(builder, name)
  return builder


def _open_folder(folder: str):
  for path in sorted(Path(folder).iterdir()):
    if not path.is_dir():
      require_file(path)
  import tensorflow_datasets as tfds  # slow to import, and no other source needs it

  try:
    return tfds.builder_from_directory(folder)
  except Exception as e:  # TFDS has no common class for what it cannot read
    raise InputError(
      f"{folder!r} is no prepared TFDS dataset ({_first_line(e)}). Give the folder that holds dataset_info.json."
    ) from e


def _open_name(name: str):
  import tensorflow_datasets as tfds

  for group in ("text", "summarization", "translate"):  # until then TFDS does not know wikipedia, glue and many more
    importlib.import_module(f"tensorflow_datasets.{group}")
  try:
    builder = tfds.builder(name, data_dir=os.environ.get("TFDS_DATA_DIR"))
  except tfds.core.DatasetNotFoundError as e:
    near = difflib.get_close_matches(name.split("/")[0], tfds.list_builders(with_community_datasets=False), n=3)
    hint = f"Did you mean {' or '.join(near)}?" if near else "tfds.list_builders() shows the names."
    raise InputError(f"TFDS knows no dataset {name!r}, nor is it prepared in $TFDS_DATA_DIR. {hint}") from e
  except Exception as e:
    raise InputError(f"TFDS cannot open {name!r}: {_first_line(e)}") from e
  if builder.is_prepared():
    return builder
  say(f"preparing {builder.info.full_name} in {builder.data_path}")
  try:
    builder.download_and_prepare(file_format="array_record")
  except Exception as e:  # of the network, of the disk, of the dataset's own code
    raise InputError(
      f"TFDS cannot prepare {name!r}: {_first_line(e)}. Prepare it where that works, with `tfds build {name} "
      f"--file_format=array_record`, and copy the result to {builder.data_path}."
    ) from e
  return builder


def _check_format(builder, name: str) -> None:
  import tensorflow_datasets as tfds

  info = builder.info
  if info.file_format != tfds.core.FileFormat.ARRAY_RECORD:
    raise InputError(
      f"tfds:{name} is stored as {info.file_format.value}, which only TensorFlow reads. Where TensorFlow is installed, "
      "`tfds convert_format --out_file_format=array_record` rewrites it; or build it anew with "
      "`tfds build --file_format=array_record`."
    )


def _check(builder, name: str, text_key: str) -> None:
  import tensorflow_datasets as tfds

  info = builder.info
  if "train" not in info.splits:
    raise InputError(f"tfds:{name} has no split 'train'; it has {', '.join(info.splits) or 'none'}.")
  texts = [key for key, feature in info.features.items() if isinstance(feature, tfds.features.Text)]
  if text_key not in texts:
    raise InputError(
      f"tfds:{name} has no text feature {text_key!r}; its text features are {', '.join(texts) or 'none'}. Name the "
      "right one as the text's key."
    )


def _first_line(error: Exception) -> str:
  return f"{type(error).__name__}: {error}".split("\n")[0][:300]
