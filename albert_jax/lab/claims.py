"""Claims: which worker has a run, so that any number of them, on any machines, do every run once.

A claim is a file that its worker creates exclusively, and writes anew every few seconds while it is at work. The claims
of a run are numbered, and the highest number counts. A worker takes over from a dead one by creating the next number.
Nothing is ever renamed, locked or removed, so that every file system and mounted bucket will do.
"""

import contextlib
import json
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from albert_jax.messages import say

BEAT = 15.0  # seconds between two signs of life
STALE = 600.0  # seconds without a sign of life after which a worker on another machine counts as dead
_NAME = re.compile(r"claim-(\d+)\.json")


class Claims:
  """The claims of one worker.

  Attributes:
    owner: what its claim files say.

  Args:
    stale: seconds without a sign of life after which a claim is free.
    beat: seconds between two signs of life.
    lost: called, from a thread, when another worker has taken over a run that this one is still at: whatever it
      writes from then on is in the way.
  """

  def __init__(self, *, stale: float = STALE, beat: float = BEAT, lost: Callable[[str], None] | None = None):
    self._stale, self._beat, self._lost = stale, beat, lost or _leave
    self._seen: dict[Path, tuple[str, float]] = {}  # what a claim said, and since when it says so, by our clock
    self.owner = {"host": socket.gethostname(), "processes": _process_namespace(), **_process(os.getpid())}

  @contextlib.contextmanager
  def hold(self, folder: Path) -> Iterator[bool]:
    """Claims a folder for the length of the context; False where another worker has it."""
    path = self._take(folder)
    if path is None:
      yield False
      return
    over = threading.Event()
    thread = threading.Thread(target=self._live, args=(path, over), daemon=True)
    thread.start()
    try:
      yield True
    finally:
      over.set()
      thread.join()
      with contextlib.suppress(OSError):
        _write(path, {**self.owner, "released": True})

  def is_free(self, folder: Path) -> bool:
    """Whether nobody is known to work on a folder."""
    newest = _newest(folder)
    return newest is None or self._is_dead(newest)

  def _take(self, folder: Path) -> Path | None:
    newest = _newest(folder)
    if newest is not None and not self._is_dead(newest):
      return None
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"claim-{_number(newest) + 1 if newest else 0}.json"
    try:
      with path.open("x", encoding="utf-8") as file:
        file.write(json.dumps({**self.owner, "beat": 0}))
    except FileExistsError:
      return None  # another worker was faster
    return path

  def _is_dead(self, path: Path) -> bool:
    try:
      text = path.read_text(encoding="utf-8")
    except OSError:
      return False
    with contextlib.suppress(ValueError, TypeError, AttributeError):
      claim = json.loads(text)
      if claim.get("released"):
        return True
      if claim.get("processes") and all(claim.get(key) == self.owner[key] for key in ("host", "processes")):
        return _process(int(claim["pid"])) != {key: claim.get(key) for key in ("pid", "started")}
    # Clocks of machines differ: what counts is how long we have seen no change.
    known, since = self._seen.get(path, (None, 0.0))
    if text != known:
      self._seen[path] = text, time.monotonic()
      return False
    return time.monotonic() - since > self._stale

  def _live(self, path: Path, over: threading.Event) -> None:
    beats = 0
    while not over.wait(self._beat):
      if _newest(path.parent) != path:
        self._lost(f"{path.parent}: another worker took over, since this one gave no sign of life for too long")
        return
      beats += 1
      with contextlib.suppress(OSError):
        _write(path, {**self.owner, "beat": beats})


def _leave(message: str) -> None:
  say(f"error: {message}")
  os._exit(os.EX_TEMPFAIL)


def _newest(folder: Path) -> Path | None:
  try:
    names = [path for path in folder.iterdir() if _NAME.fullmatch(path.name)]
  except (FileNotFoundError, NotADirectoryError):
    return None
  return max(names, key=_number, default=None)


def _number(path: Path) -> int:
  return int(_NAME.fullmatch(path.name)[1])


def _write(path: Path, record: dict) -> None:
  path.write_text(json.dumps(record), encoding="utf-8")


def _process(pid: int) -> dict:
  """A process, told apart from a later one with the same number; `started` is None where there is none."""
  try:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return {"pid": pid, "started": None if fields[0] in "ZX" else int(fields[19])}
  except (OSError, ValueError, IndexError):
    return {"pid": pid, "started": None}


def _process_namespace() -> str:
  """Containers on one machine may have its name, and numbers of processes of their own."""
  try:
    return f"{os.readlink('/proc/self/ns/pid')} {Path('/proc/sys/kernel/random/boot_id').read_text().strip()}"
  except OSError:
    return ""
