"""Files that are read only if they are files, and files and folders that appear whole or not at all."""

import contextlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from albert_jax.errors import InputError


def require_file(path: str | os.PathLike[str], *, hint: str = "") -> None:
  """Checks, before a library opens a path of the user's, that it is a regular file.

  A pipe or a socket may keep its reader waiting for ever, and a device may have no end.

  Args:
    path: the file, or a link to it.
    hint: what the user can do where there is none.

  Raises:
    InputError: there is nothing of the name, or it is a folder, pipe, socket or device.
  """
  try:
    mode = os.stat(path).st_mode
  except (OSError, ValueError) as error:  # ValueError: a name that no file can have
    raise _unreadable(path, error, hint) from error
  if not stat.S_ISREG(mode):
    raise InputError(f"{path} is not a regular file. {hint}".strip())


def read_bytes(path: str | os.PathLike[str], *, hint: str = "") -> bytes:
  """The content of a regular file.

  Raises:
    InputError: it cannot be read; the message ends with the hint.
  """
  require_file(path, hint=hint)
  try:
    return Path(path).read_bytes()
  except OSError as error:
    raise _unreadable(path, error, hint) from error


def read_text(path: str | os.PathLike[str], *, hint: str = "") -> str:
  """The text of a regular file in UTF-8, without a byte order mark.

  Raises:
    InputError: it cannot be read, or is not UTF-8; the message ends with the hint.
  """
  try:
    return read_bytes(path, hint=hint).decode("utf-8-sig")
  except UnicodeDecodeError as error:
    raise InputError(f"{path} is not UTF-8 at byte {error.start}. {hint or 'Convert it, as with iconv.'}") from error


def _unreadable(path: str | os.PathLike[str], error: Exception, hint: str) -> InputError:
  return InputError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}. {hint}".strip())


@contextlib.contextmanager
def new_file(path: str | os.PathLike[str]) -> Iterator[Path]:
  """A path beside `path` that takes its name when the context ends well, and is gone when it does not.

  A missing folder is made, and an old file replaced. The temporary name keeps the suffix, which some writers go by.
  """
  final = Path(path)
  final.parent.mkdir(parents=True, exist_ok=True)
  temporary = final.with_name(f".{os.getpid()}-{final.name}")
  try:
    yield temporary
    os.replace(temporary, final)
  finally:
    temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def new_folder(path: str, *, replace: bool = False) -> Iterator[Path]:
  """A temporary folder beside `path` that takes its name when the context ends well, and is gone when it does not.

  Raises:
    InputError: `path` cannot be made, or is a file, or without `replace` a folder that is not empty.
  """
  final = Path(path).absolute()
  if final.exists() and not final.is_dir():
    raise InputError(f"{path} is a file: name a new folder.")
  if final.is_dir() and any(final.iterdir()) and not replace:
    raise InputError(f"{path} is not empty: name a new folder, or empty this one.")
  try:
    final.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{final.name}-", dir=final.parent))
  except OSError as error:
    raise InputError(f"{path} cannot be made ({error.strerror}).") from error
  try:
    yield temporary
    temporary.chmod(0o755)  # mkdtemp's folders are private
    shutil.rmtree(final, ignore_errors=True)
    os.replace(temporary, final)
  finally:
    shutil.rmtree(temporary, ignore_errors=True)
