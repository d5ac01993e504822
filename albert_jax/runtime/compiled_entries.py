"""Compiled programs on disk, with a checksum: JAX runs what it finds there, so a flipped bit would crash every start.

The checksum finds damage, not malice: whoever may write the folder can run code in every job that reads it.
"""

import glob
import hashlib
from pathlib import Path

from jax._src import compilation_cache  # JAX has no public place for another store of compiled programs
from jax._src.compilation_cache_interface import CacheInterface

from albert_jax.messages import say

_PREFIX = "sha256-"  # keeps these entries apart from those of programs that know no checksum
_open_unchecked = compilation_cache.get_file_cache


def check_entries() -> None:
  """Has JAX check each compiled program that it reads from disk. Call it before the first program is compiled."""
  compilation_cache.get_file_cache = _open


class CheckedEntries(CacheInterface):
  """A store of compiled programs that removes a damaged one, so that it is compiled again.

  Args:
    store: holds each program behind its sha256.
  """

  def __init__(self, store: CacheInterface):
    self._store, self._path = store, store._path

  def get(self, key: str) -> bytes | None:
    """The program, or None if there is none or it is damaged."""
    folder, name = Path(self._path), _PREFIX + key
    files = [Path(path) for path in glob.glob(glob.escape(f"{folder / name}") + "-*")]
    entry = self._store.get(name) if all(map(Path.is_file, files)) else b""  # nothing is read from a pipe
    if entry is None:
      return None
    size = hashlib.sha256().digest_size
    if hashlib.sha256(entry[size:]).digest() == entry[:size]:
      return entry[size:]
    say(f"warning: a compiled program in {folder} is damaged, and is compiled again")
    for path in files:
      path.unlink(missing_ok=True)
    return None

  def put(self, key: str, value: bytes) -> None:
    """Stores a program."""
    self._store.put(_PREFIX + key, hashlib.sha256(value).digest() + value)


def _open(path: str) -> tuple[CacheInterface, str] | None:
  opened = _open_unchecked(path)
  return opened and (CheckedEntries(opened[0]), opened[1])
