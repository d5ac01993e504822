"""Text from local files: .txt and .jsonl (plain, .gz, .bz2, .xz or .zst), and .parquet."""

import bz2
import dataclasses
import functools
import glob
import gzip
import io
import json
import lzma
import os
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from albert_jax.data.text.base import Source, digest
from albert_jax.errors import InputError

# What bounds memory: a longer .txt document goes on as a new one, a longer line is refused.
MAX_DOCUMENT = 1 << 24
MAX_LINE = 1 << 28


def _pyarrow():
  """Imported only for files that need it: it starts a thread, and one that is older than the limit on malloc's arenas
  has XLA's temporaries cleared in every step (training/memory.py).
  """
  import pyarrow.parquet

  return pyarrow


def _open_zst(path: str, mode: str) -> BinaryIO:
  del mode
  pyarrow = _pyarrow()
  # pyarrow rather than zstandard, whose reader takes a truncated file for a short one.
  return io.BufferedReader(pyarrow.CompressedInputStream(pyarrow.OSFile(path), "zstd"))


OPENERS = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open, ".zst": _open_zst}


@dataclasses.dataclass(frozen=True)
class FilesSource(Source):
  """The files that a glob matches (`**` descends), in sorted order; a shard is a file.

  - `.txt`: UTF-8; a blank line ends a document.
  - `.jsonl`, `.parquet`: a document a row, in the field `text_key`; rows without text are passed over.

  Text is handed on as it is, but for line ends (always `\\n`), a byte-order mark and trailing space.
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
    fixed = self.pattern.split("*")[0].split("?")[0].split("[")[0]
    return os.path.dirname(fixed)

  @functools.cached_property
  def shards(self) -> tuple[str, ...]:
    """The matching files, relative to the last folder before the first wildcard."""
    if os.path.isfile(self.pattern):
      paths = [self.pattern]  # a name may hold brackets
    else:
      paths = sorted(p for p in glob.glob(self.pattern, recursive=True) if os.path.isfile(p))
    if not paths:
      kind = "No file matches" if glob.has_magic(self.pattern) else "There is no file"
      raise InputError(
        f"{kind} {self.pattern!r} (working directory {os.getcwd()}). Check the path, or name other text (data.source "
        "in a config); quote a glob in the shell."
      )
    for path in paths:
      _split_name(path)
    return tuple(os.path.relpath(path, self._root or ".") for path in paths)

  @functools.cached_property
  def fingerprint(self) -> str:
    """Hashes each file's name, size and time of modification, and the text's key."""
    stats = [os.stat(self._path(shard)) for shard in self.shards]
    files = [(name, s.st_size, s.st_mtime_ns) for name, s in zip(self.shards, stats)]
    return digest("files", 1, self.text_key, files)

  def read(self, shard: str) -> Iterator[tuple[str, str]]:
    """Yields (`file#number`, text); the number counts rows, or a .txt file's documents."""
    path = self._path(shard)
    read_format = {".txt": _read_txt, ".jsonl": self._read_jsonl, ".parquet": self._read_parquet}
    form, _ = _split_name(path)
    try:
      for number, text in read_format[form](path):
        yield f"{shard}#{number}", text
    except (OSError, EOFError, UnicodeDecodeError, lzma.LZMAError, zlib.error) as e:
      raise InputError(
        f"{path}: cannot be read ({e}). Is it truncated or damaged? Compare its size and checksum with the original's."
      ) from e

  def _path(self, shard: str) -> str:
    return os.path.join(self._root, shard)

  def _read_jsonl(self, path: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(_lines(path)):
      if not line.strip():
        continue
      where = f"{path}:{number + 1}"
      try:
        row = json.loads(line)
      except (ValueError, RecursionError) as e:  # also a number of thousands of digits, and thousands of brackets
        raise InputError(f"{where}: not JSON ({e}). A .jsonl file holds one JSON object a line.") from e
      if not isinstance(row, dict):
        raise InputError(f"{where}: a {type(row).__name__}, not a JSON object such as {{{self.text_key!r}: ...}}.")
      if self.text_key not in row:
        raise InputError(f"{where}: {_no_key(self.text_key, list(row))}")
      yield from _document(number, row[self.text_key], where)

  def _read_parquet(self, path: str) -> Iterator[tuple[int, str]]:
    pyarrow = _pyarrow()
    try:
      with pyarrow.parquet.ParquetFile(path) as file:
        if self.text_key not in file.schema_arrow.names:
          raise InputError(f"{path}: {_no_key(self.text_key, file.schema_arrow.names)}")
        number = 0
        for batch in file.iter_batches(batch_size=256, columns=[self.text_key]):
          for value in batch.column(0):
            yield from _document(number, value.as_py(), f"{path}, row {number}")
            number += 1
    except pyarrow.ArrowException as e:
      raise OSError(str(e)) from e


def _split_name(path: str) -> tuple[str, str]:
  """`a.jsonl.gz` -> (".jsonl", ".gz")."""
  stem, compression = os.path.splitext(path)
  if compression not in OPENERS:
    stem, compression = path, ""
  form = os.path.splitext(stem)[1]
  if form not in (".txt", ".jsonl", ".parquet") or (form == ".parquet" and compression):
    raise InputError(
      f"{path}: unknown kind of file. Text is read from .txt and .jsonl (plain, {', '.join(OPENERS)}) and .parquet."
    )
  return form, compression


def _no_key(key: str, present: list[str]) -> str:
  return f"no field {key!r}; there are {', '.join(map(repr, present)) or 'none'}. Name the right one as the text's key."


def _document(number: int, value: object, where: str) -> Iterator[tuple[int, str]]:
  """Yields the row's text, unless it is missing or blank."""
  if value is None:
    return
  if not isinstance(value, str):
    raise InputError(
      f"{where}: the text is a {type(value).__name__}, not a string. Name another field as the text's key."
    )
  try:
    value.encode()
  except UnicodeEncodeError as e:  # JSON can write half of a pair that stands for one character
    raise InputError(
      f"{where}: the text has a lone surrogate at character {e.start}, which is no character. Cut it out, or mend what "
      "wrote the file."
    ) from e
  if value.strip():
    yield number, value.replace("\r\n", "\n").strip()


def _read_txt(path: str) -> Iterator[tuple[int, str]]:
  """Yields (number, document) of a text file, a blank line being the end of a document."""
  number, size, lines = 0, 0, []
  for line in _lines(path):
    line = line.strip()
    if lines and (not line or size > MAX_DOCUMENT):
      yield number, "\n".join(lines)
      number, size, lines = number + 1, 0, []
    if line:
      lines.append(line)
      size += len(line)
  if lines:
    yield number, "\n".join(lines)


def _lines(path: str) -> Iterator[str]:
  """Yields the lines of a UTF-8 file; offsets in errors count bytes after decompression."""
  offset = 0
  with OPENERS.get(_split_name(path)[1], open)(path, "rb") as file:
    while line := file.readline(MAX_LINE):
      if len(line) == MAX_LINE:
        raise InputError(f"{path}: the line at byte {offset} is longer than {MAX_LINE >> 20} MiB. Break it up.")
      try:
        text = line.decode("utf-8-sig" if offset == 0 else "utf-8")
      except UnicodeDecodeError as e:
        raise InputError(
          f"{path}: not UTF-8 at byte {offset + e.start}. "
          "Convert it: iconv -f ENCODING -t UTF-8 (ENCODING is often WINDOWS-1252 or UTF-16)."
        ) from e
      if "\0" in text:
        raise InputError(
          f"{path}: a NUL at byte {offset + line.index(0)}: "
          "not a text file, or UTF-16 (then convert it: iconv -f UTF-16 -t UTF-8)."
        )
      yield text
      offset += len(line)
