"""Text from local files."""

import dataclasses
import functools
import glob
import os
from collections.abc import Iterator

from albert_jax.data.text.base import Source, digest
from albert_jax.data.text.file_formats import is_readable, read_documents, split_name
from albert_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class FilesSource(Source):
  """The files that a glob matches (`**` descends), or all that can be read below a folder; a shard is a file.

  - `.txt`: UTF-8; a blank line ends a document. `.md`: the file is one document.
  - `.jsonl`, `.parquet`, `.csv`, `.tsv`: a document a row, in the field `text_key`; rows without text are passed over.

  Text is passed on as it is, except for line ends (always `\\n`), a byte-order mark and trailing space.
  Control characters stay in: the tokenizers drop them, as the originals do. Only a NUL byte in a file is
  an error, because that is a binary file or UTF-16, which would otherwise pass for UTF-8.
  """

  pattern: str
  text_key: str = "text"

  @property
  def spec(self) -> str:
    """`files:GLOB`."""
    return f"files:{self.pattern}"

  @functools.cached_property
  def _root(self) -> str:
    """The folder that document keys are relative to, so that a corpus may move as a whole."""
    if os.path.isdir(self.pattern):
      return self.pattern
    fixed = self.pattern.split("*")[0].split("?")[0].split("[")[0]
    return os.path.dirname(fixed)

  @functools.cached_property
  def shards(self) -> tuple[str, ...]:
    """The matching files in sorted order, relative to the folder, or to the last one before the first wildcard."""
    if os.path.isdir(self.pattern):
      paths = _readable_below(self.pattern)
    elif os.path.isfile(self.pattern):
      paths = [self.pattern]  # a name may hold brackets
    elif os.path.exists(self.pattern):
      raise InputError(f"{self.pattern} is neither a file nor a folder: name files of text.")
    else:
      paths = sorted(p for p in glob.glob(self.pattern, recursive=True) if os.path.isfile(p))
    if not paths:
      raise InputError(self._nothing_found())
    for path in paths:
      split_name(path)
    return tuple(os.path.relpath(path, self._root or ".") for path in paths)

  @functools.cached_property
  def fingerprint(self) -> str:
    """Hashes each file's name, size and time of modification, and the text's key."""
    files = []
    for name in self.shards:
      try:
        stat = os.stat(self._path(name))
      except OSError as error:
        raise InputError(f"{self._path(name)} cannot be read: {error.strerror}.") from error
      files.append((name, stat.st_size, stat.st_mtime_ns))
    return digest("files", 1, self.text_key, files)

  def read(self, shard: str) -> Iterator[tuple[str, str]]:
    """Yields (`file#number`, text); the number counts rows, or a .txt file's documents."""
    for number, text in read_documents(self._path(shard), self.text_key):
      yield f"{shard}#{number}", text

  def _path(self, shard: str) -> str:
    return os.path.join(self._root, shard)

  def _nothing_found(self) -> str:
    if os.path.isdir(self.pattern):
      return f"The folder {self.pattern!r} holds no file that can be read as text; docs/data.md lists the formats."
    kind = "No file matches" if glob.has_magic(self.pattern) else "There is no file"
    found = f"{kind} {self.pattern!r} (working directory {os.getcwd()})."
    return f"{found} Check the path, or name other text (data.source in a config); quote a glob in the shell."


def _readable_below(folder: str) -> list[str]:
  """Files below a folder whose ending is known, without hidden ones."""
  found = []
  for root, folders, files in os.walk(folder):
    folders[:] = [name for name in folders if not name.startswith(".")]
    paths = (os.path.join(root, name) for name in files if not name.startswith("."))
    found += [path for path in paths if is_readable(path) and os.path.isfile(path)]
  return sorted(found)
