"""Text from any TFDS dataset, read at random without TensorFlow."""

import dataclasses
import functools
import os
from collections.abc import Iterator

from albert_jax.data.source_base import Source, digest

ROWS_PER_SHARD = 10_000


@dataclasses.dataclass(frozen=True)
class TfdsSource(Source):
  """The `train` split of a TFDS dataset; a shard is a range of rows, and a row is a document.

  `name` is a registered name (`NAME`, `NAME/CONFIG`, `NAME/CONFIG:VERSION`), prepared under
  `$TFDS_DATA_DIR` (default ~/tensorflow_datasets) and downloaded where it is not there yet, or the folder of a
  prepared dataset (`.../NAME/CONFIG/VERSION`).
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
    sizes = [split.num_examples, split.num_bytes, list(split.shard_lengths)]
    return digest("tfds", 1, info.full_name, sizes, self.text_key)

  def read(self, shard: str) -> Iterator[tuple[str, str]]:
    """Yields (row number, text)."""
    start, stop = map(int, shard.split("-"))
    rows = self._builder.as_data_source(split="train")
    for row in range(start, stop):
      text = rows[row][self.text_key]
      text = text.decode("utf-8") if isinstance(text, bytes) else str(text)
      if text.strip():
        yield str(row), text.replace("\r\n", "\n").strip()

  @functools.cached_property
  def _builder(self):
    import tensorflow_datasets as tfds  # slow, and only this source needs it

    if os.path.isdir(self.name):
      return tfds.builder_from_directory(self.name)
    return tfds.builder(self.name)
