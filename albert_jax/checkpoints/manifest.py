"""The manifest of a folder: size and sha256 of each file, as written.

`python -m albert_jax.checkpoints.manifest FOLDER` records a folder's files as they are now.
"""

import hashlib
import json
import os
import stat
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from albert_jax.errors import InputError
from albert_jax.json_files import read_json

FILE = "manifest.json"
_SELF = "."  # stands for the folder: in place of a hash it has its name
_LARGEST = 64 << 20  # bytes of a manifest; one of 100,000 files has 15 MB


def write(folder: Path, *, name: str | None = None) -> None:
  """Records a folder's files, and its name: its own, or the one that it will have.

  Files are flushed to disk before the manifest, so that it also holds after a power failure.

  Raises:
    InputError: there is a symbolic link among them, or something else that is not a plain file.
    OSError: the disk is full, or a file cannot be read.
  """
  files = _files(folder)
  if irregular := _irregular(files):
    raise InputError(f"{folder / irregular[0]} is not a plain file: a checkpoint has no links.")
  files.pop(FILE, None)
  for file in files:
    _flush(folder / file)
  records = {file: {"size": files[file].st_size, "sha256": sha256} for file, sha256 in _hashes(folder, files)}
  records[_SELF] = {"size": 0, "sha256": name or folder.resolve().name}
  (folder / FILE).write_text(json.dumps(records, indent=1), encoding="utf-8")  # a part of one is as good as none
  _flush(folder / FILE)


def problem(folder: Path) -> str | None:
  """Says how a folder differs from its manifest, beginning with a file's name; None: not at all.

  Nothing is read through a link, and nothing that the manifest does not name.
  """
  try:
    return _difference(folder)
  except OSError as error:
    return f"{error.filename or folder} cannot be read: {error.strerror}"


def _difference(folder: Path) -> str | None:
  if folder.is_symlink():
    return f"{folder.name} is a symbolic link"
  files = _files(folder)
  if irregular := _irregular(files):
    return _first(irregular, "is not a plain file (a link?)")
  if FILE not in files:
    return f"{FILE} is missing"
  recorded = _read(folder / FILE, files.pop(FILE).st_size)
  if recorded is None:
    return f"{FILE} is damaged"
  size, name = recorded.pop(_SELF, (0, folder.name))  # an earlier version recorded no name
  if size:
    return f"{FILE} is damaged"
  if name != folder.name:
    return f"{FILE} is that of {name}: the folder was renamed"
  for names, what in (
    (recorded.keys() - files.keys(), "is missing"),
    (files.keys() - recorded.keys(), "was added"),
    ((name for name in files if files[name].st_size != recorded[name][0]), "has another size than when it was written"),
    (
      (name for name, sha256 in _hashes(folder, files) if sha256 != recorded[name][1]),
      "has other bytes than were written",
    ),
  ):
    if different := sorted(names):
      return _first(different, what)
  return None


def _files(folder: Path) -> dict[str, os.stat_result]:
  """Everything in a folder that is not itself a folder, by its path in there; links are not followed."""

  def fail(error: OSError) -> None:
    raise error

  files = {}
  for parent, folders, names in os.walk(folder, onerror=fail):
    for name in folders + names:
      status = os.lstat(os.path.join(parent, name))
      if not stat.S_ISDIR(status.st_mode):
        files[Path(parent, name).relative_to(folder).as_posix()] = status
  return files


def _irregular(files: dict[str, os.stat_result]) -> list[str]:
  return sorted(name for name, status in files.items() if not stat.S_ISREG(status.st_mode))


def _read(path: Path, size: int) -> dict[str, tuple[int, str]] | None:
  """Size and sha256 by name; None: this is no manifest."""
  if size > _LARGEST:
    return None
  try:
    records = read_json(path, {str: {"size": int, "sha256": str}})
  except InputError:
    return None
  return {name: (record["size"], record["sha256"]) for name, record in records.items()}


def _hashes(folder: Path, names: Iterable[str]) -> list[tuple[str, str]]:
  names = sorted(names)
  with ThreadPoolExecutor() as pool:
    return list(zip(names, pool.map(lambda name: _hash(folder / name), names)))


def _hash(path: Path) -> str:
  with open(path, "rb") as file:
    return hashlib.file_digest(file, "sha256").hexdigest()


def _flush(path: Path) -> None:
  with open(path, "rb") as file:
    os.fsync(file.fileno())


def _first(names: list[str], what: str) -> str:
  return f"{names[0]} {what}" + (f", and {len(names) - 1} more" if len(names) > 1 else "")


if __name__ == "__main__":
  try:
    write(Path(sys.argv[1]))
  except (IndexError, InputError, OSError) as error:
    sys.exit(f"error: {error}; usage: python -m albert_jax.checkpoints.manifest FOLDER")
