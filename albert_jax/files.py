"""Files and folders that appear whole or not at all."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from albert_jax.errors import InputError


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
