"""The documents in one file: .txt, .md, .jsonl, .csv and .tsv, plain or compressed, and .parquet."""

import bz2
import csv
import gzip
import io
import lzma
import os
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO

from albert_jax.errors import InputError
from albert_jax.files import require_file
from albert_jax.json_files import parse_json

Numbered = Iterator[tuple[int, str]]  # (number of the row or document, text)

# What bounds memory: a longer .txt document goes on as a new one, a longer line is refused.
MAX_DOCUMENT = 1 << 24
MAX_LINE = 1 << 28


def _pyarrow():
  """Imports pyarrow, only for files that need it.

  It starts a thread; where that is older than the limit on malloc's arenas, every step clears XLA's temporaries
  (runtime/memory.py).
  """
  import pyarrow.parquet

  return pyarrow


def _open_zst(path: str, mode: str) -> BinaryIO:
  del mode
  pyarrow = _pyarrow()
  # pyarrow rather than zstandard, whose reader takes a truncated file for a short one.
  return io.BufferedReader(pyarrow.CompressedInputStream(pyarrow.OSFile(path), "zstd"))


OPENERS = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open, ".zst": _open_zst}


def read_documents(path: str, text_key: str) -> Numbered:
  """Yields (number, text) of each document in a file; rows without text are passed over.

  Args:
    path: a regular file; its ending names its format.
    text_key: the field of the text, in all formats but .txt and .md. A dot descends into a nested field.

  Raises:
    InputError: the file is damaged, or not what its ending says, or has no such field.
  """
  require_file(path)
  try:
    yield from READERS[split_name(path)[0]](path, text_key)
  except (OSError, EOFError, UnicodeDecodeError, lzma.LZMAError, zlib.error) as e:
    raise InputError(
      f"{path}: cannot be read ({e}). Is it truncated or damaged? Compare its size and checksum with the original's."
    ) from e


def is_readable(path: str) -> bool:
  """Whether the ending of a file is that of a format that `read_documents` reads."""
  form, compression = _endings(path)
  return form in READERS and not (form == ".parquet" and compression)


def split_name(path: str) -> tuple[str, str]:
  """`a.jsonl.gz` -> (".jsonl", ".gz"); InputError for an ending that cannot be read."""
  if not is_readable(path):
    raise InputError(
      f"{path}: unknown kind of file. Text is read from {', '.join(sorted(READERS.keys() - {'.parquet'}))} (plain, "
      f"{', '.join(OPENERS)}) and .parquet."
    )
  return _endings(path)


def _endings(path: str) -> tuple[str, str]:
  stem, compression = os.path.splitext(path)
  if compression not in OPENERS:
    stem, compression = path, ""
  return os.path.splitext(stem)[1], compression


def _read_txt(path: str, text_key: str) -> Numbered:
  """A blank line is the end of a document."""
  return _join_lines(path, ends_at_blank=True)


def _read_md(path: str, text_key: str) -> Numbered:
  """The file is one document."""
  return _join_lines(path, ends_at_blank=False)


def _join_lines(path: str, *, ends_at_blank: bool) -> Numbered:
  number, size, lines = 0, 0, []
  for line in _lines(path):
    line = line.strip()
    if lines and ((ends_at_blank and not line) or size > MAX_DOCUMENT):
      yield number, "\n".join(lines)
      number, size, lines = number + 1, 0, []
    if line:
      lines.append(line)
      size += len(line)
  if lines:
    yield number, "\n".join(lines)


def _read_jsonl(path: str, text_key: str) -> Numbered:
  for number, line in enumerate(_lines(path)):
    if not line.strip():
      continue
    where = f"{path}:{number + 1}"
    row = parse_json(line, {}, where=where, hint=f"A .jsonl file holds one object a line, such as {{{text_key!r}: …}}.")
    yield from _document(number, _field(row, text_key, where), where)


def _read_parquet(path: str, text_key: str) -> Numbered:
  pyarrow = _pyarrow()
  try:
    with pyarrow.parquet.ParquetFile(path) as file:
      names = file.schema_arrow.names
      column = text_key if text_key in names else text_key.partition(".")[0]
      leaves = [file.schema.column(i).path for i in range(len(file.schema))]
      if text_key not in (*names, *leaves):  # a nested one that is not there would just be left out
        raise InputError(f"{path}: {_no_key(text_key, sorted({*names, *leaves}))}")
      number = 0
      for batch in file.iter_batches(batch_size=256, columns=[text_key]):
        for value in batch.column(column):
          where = f"{path}, row {number}"
          yield from _document(number, _field({column: value.as_py()}, text_key, where), where)
          number += 1
  except pyarrow.ArrowException as e:
    raise OSError(str(e)) from e


def _read_csv(path: str, text_key: str) -> Numbered:
  """Values may be quoted, and a quoted value may span lines."""
  csv.field_size_limit(min(sys.maxsize, 2**31 - 1))  # a value may be a long document
  reader = csv.reader(_lines(path), strict=True)
  try:
    yield from _table(path, reader, text_key, lambda: reader.line_num)
  except csv.Error as e:
    raise InputError(f"{path}:{reader.line_num}: {e}.") from e


def _read_tsv(path: str, text_key: str) -> Numbered:
  """A quotation mark is a character like any other."""
  return _table(path, (line.rstrip("\r\n").split("\t") for line in _lines(path)), text_key)


def _table(path: str, rows: Iterator[list[str]], text_key: str, line: Callable[[], int] | None = None) -> Numbered:
  header = next(rows, [])
  if text_key not in header:
    raise InputError(f"{path}: {_no_key(text_key, header)}")
  place = header.index(text_key)
  for number, values in enumerate(rows):
    if values and values != [""]:
      where = f"{path}:{line() if line else number + 2}"
      if len(values) != len(header):
        raise InputError(f"{where}: {len(values)} values, but there are {len(header)} columns ({', '.join(header)}).")
      yield from _document(number, values[place], where)


READERS = {
  ".txt": _read_txt,
  ".md": _read_md,
  ".jsonl": _read_jsonl,
  ".csv": _read_csv,
  ".tsv": _read_tsv,
  ".parquet": _read_parquet,
}


def _field(row: dict, key: str, where: str):
  """The value of a field, or of the field "b" of the field "a" for the key "a.b"."""
  if key in row:
    return row[key]
  value, seen = row, ""
  for name in key.split("."):
    if value is None:
      return None
    if not isinstance(value, dict) or name not in value:
      names = [f"{seen}{n}" for n in value] if isinstance(value, dict) else []
      raise InputError(f"{where}: {_no_key(key, names)}")
    value, seen = value[name], f"{seen}{name}."
  return value


def _no_key(key: str, present: Sequence[str]) -> str:
  return f"no field {key!r}; there are {', '.join(map(repr, present)) or 'none'}. Name the right one as data.text_key."


def _document(number: int, value: object, where: str) -> Numbered:
  """Yields the row's text, unless it is missing or blank."""
  if value is None:
    return
  if not isinstance(value, str):
    inside = f" Its fields are {', '.join(map(repr, value))}." if isinstance(value, dict) else ""
    raise InputError(
      f"{where}: the text is a {type(value).__name__}, not a string.{inside} Name another field as data.text_key."
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


def _lines(path: str) -> Iterator[str]:
  """Yields the lines of a UTF-8 file; offsets in errors count bytes after decompression."""
  offset = 0
  with OPENERS.get(split_name(path)[1], open)(path, "rb") as file:
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
