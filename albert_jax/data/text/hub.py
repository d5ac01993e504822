"""Text from a data set on the Hugging Face Hub."""

import dataclasses
import fnmatch
import functools
import glob
from collections.abc import Iterator
from pathlib import Path

from albert_jax import hub
from albert_jax.data.text.base import Source, digest
from albert_jax.data.text.file_formats import is_readable, read_documents
from albert_jax.errors import InputError

IN_FOLDERS = (".parquet", ".jsonl", ".jsonl.gz", ".jsonl.zst")


@dataclasses.dataclass(frozen=True)
class HubSource(Source):
  """The files of a data set at one commit; a shard is a file, in a format of `FilesSource`.

  They are downloaded together when the first is read: not where the examples are prepared already.

  Attributes:
    repository: the data set.
    path: a folder, whose .parquet and .jsonl files are read; a file; or a shell pattern in which `*` matches `/` too.
    text_key: the field that holds the text.
  """

  repository: hub.Repository
  path: str
  text_key: str = "text"

  @property
  def spec(self) -> str:
    """`hub:OWNER/NAME@COMMIT/PATH`."""
    return f"{hub.PREFIX}{self.repository.name}@{self.repository.commit}/{self.path}"

  @property
  def fingerprint(self) -> str:
    """Hashes names, commit and the text's key: no network is needed."""
    return digest("hub", 1, self.repository.name, self.repository.commit, self.path, self.text_key)

  @functools.cached_property
  def shards(self) -> tuple[str, ...]:
    """The matching files, sorted."""
    files = (str(file.relative_to(self._folder)) for file in self._folder.rglob("*") if file.is_file())
    matching = (file for file in files if any(fnmatch.fnmatchcase(file, pattern) for pattern in self._patterns))
    shards = tuple(sorted(filter(is_readable, matching)))
    if not shards:
      raise InputError(f"{self.spec} has no file that can be read as text; docs/data.md lists the formats.")
    return shards

  def read(self, shard: str) -> Iterator[tuple[str, str]]:
    """Yields (`file#row`, text)."""
    for number, text in read_documents(str(self._folder / shard), self.text_key):
      yield f"{shard}#{number}", text

  def check_readable(self) -> None:
    """Nothing is read before it is needed: it would have to be downloaded."""

  @functools.cached_property
  def _folder(self) -> Path:
    return Path(self.repository.download(self._patterns))

  @property
  def _patterns(self) -> tuple[str, ...]:
    if glob.has_magic(self.path) or is_readable(self.path):
      return (self.path,)
    folder = f"{glob.escape(self.path)}/" if self.path else ""
    return tuple(f"{folder}*{ending}" for ending in IN_FOLDERS)
