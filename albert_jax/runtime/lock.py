"""One run at a time in a workdir: a lock that is released when its process ends, however it ends."""

import contextlib
import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import jax

from albert_jax.errors import InputError
from albert_jax.files import require_file
from albert_jax.messages import say
from albert_jax.runtime import distributed

FILE = ".lock"


@contextlib.contextmanager
def locked(workdir: str) -> Iterator[None]:
  """Locks the workdir within the context; in a job of several processes, process 0 does it for all.

  The operating system releases the lock when the process ends. On NFS this needs version 4 or a lock daemon. A file
  system without locks is used without one, after a warning.

  Raises:
    InputError: another run holds it; names its host and process.
  """
  path = Path(workdir) / FILE
  with contextlib.ExitStack() as stack:
    holder = None
    if jax.process_index() == 0:
      path.parent.mkdir(parents=True, exist_ok=True)
      if path.exists():
        require_file(path)
      file = stack.enter_context(path.open("a+", encoding="utf-8"))
      holder = _take(file)
    if distributed.value_of_first(holder is not None):
      by = f" by {holder}" if holder else ""
      raise InputError(f"{workdir} is in use{by}: wait for it, or name another --workdir.")
    yield


def _take(file) -> str | None:
  """Takes the lock; or else says who has it."""
  try:
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except BlockingIOError:
    file.seek(0)
    return file.read().strip() or "another process"
  except OSError as error:
    say(f"warning: no lock on {file.name} ({error.strerror}): see to it that no other run uses the folder")
    return None
  file.truncate(0)
  file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
  file.flush()
  return None
