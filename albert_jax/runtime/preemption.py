"""Notices of preemption: SIGTERM or SIGINT asks a run to save and end.

Any process of a job may receive the notice. If one of them has nothing to save yet, all leave at once. Otherwise all
agree on the next point that none has passed, continue to it, and raise `Stop` there. A second signal ends its process
at once.

JAX's own `reached_preemption_sync_point` handles only SIGTERM, misses a second signal, and does not answer before the
first step.
"""

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Protocol

from albert_jax.messages import say

EXIT_CODE = os.EX_TEMPFAIL  # 75: start the same command again
GRACE = 10.0  # seconds for the main thread to leave; it may be inside a compilation or wait for a peer
_ECHO = 1.0  # seconds in which a further signal is the same notice: launchers may signal both a process and its group
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stop(Exception):
  """Raised at the point where all processes save the run and end."""


class Peers(Protocol):
  """The processes of the job, this one included."""

  def tell(self) -> None:
    """Sends a notice to the others."""

  def wait(self, over: threading.Event) -> bool:
    """Blocks until some process sends a notice; returns False if `over` is set or no notice can come any more."""

  def gather(self, value: int) -> list[int]:
    """The values of all processes."""


class Alone:
  """A job of one process."""

  def tell(self) -> None:
    """Does nothing: there is no other process."""

  def wait(self, over: threading.Event) -> bool:
    """Returns at once: no notice can come from another process."""
    return False

  def gather(self, value: int) -> list[int]:
    """This process's own value."""
    return [value]


class Notices:
  """Notices received, and the number of points that this process has passed.

  | state | a first signal | next |
  |---|---|---|
  | nothing to save yet, in some process | all leave: `_leaving`, SystemExit in the main thread | ends |
  | every process has passed a point | `_stop_at` = the highest count + 1 | `check` raises `Stop` there |
  | noticed, more than a second ago | a second signal: `os._exit` | ends |
  """

  def __init__(self, peers: Peers):
    self._peers, self._lock = peers, threading.Lock()
    self._noticed: float | None = None
    self._leaving = self._woke = False
    self._counting = False
    self._passed, self._stop_at = 0, None
    self._over, self._has_agreed = threading.Event(), threading.Event()
    self._listener = _thread(self._listen)

  def check(self) -> None:
    """Passes a point; raises `Stop` if it is the one agreed on."""
    with self._lock:
      if self._counting:
        self._passed += 1
        if self._passed == self._stop_at:
          raise Stop

  @contextlib.contextmanager
  def graceful(self) -> Iterator[None]:
    """Within the context, from its first point on, the run has something to save."""
    self._counting = True
    try:
      yield
    finally:
      with self._lock:
        self._counting, self._passed = False, 0
    if self._noticed is not None:  # the run was over before the point came
      raise SystemExit(EXIT_CODE)

  def on_signal(self, number: int) -> None:
    """Handles a signal."""
    now = time.monotonic()
    if self._woke:  # it is our own, for the main thread
      self._woke = False
    elif self._noticed is None:
      name = signal.Signals(number).name
      say(f"{name}: ends with status {EXIT_CODE} as soon as the run is saved; once more ends it at once")
      self._start(now, self._peers.tell)
    elif now - self._noticed > _ECHO:
      os._exit(128 + number)

  def close(self) -> None:
    """Ends the threads that talk to other processes: one that still does so at exit would abort the interpreter."""
    self._over.set()
    self._listener.join(GRACE)
    if self._noticed is not None:
      self._has_agreed.wait()

  def in_main_thread(self, *_) -> None:
    """Python's signal handler: leaves if that has been decided, and ignores the signal otherwise."""
    if self._leaving:
      self._leaving = False
      raise SystemExit(EXIT_CODE)

  def _listen(self) -> None:
    if self._peers.wait(self._over) and self._noticed is None:
      self._start(time.monotonic())

  def _start(self, now: float, tell: Callable[[], None] = lambda: None) -> None:
    self._noticed = now
    _thread(lambda: self._agree(tell))

  def _agree(self, tell: Callable[[], None]) -> None:
    """Agrees with all processes on the point to stop at, or leaves where one of them has nothing to save."""
    with self._lock:
      try:
        tell()
        passed = self._peers.gather(self._passed)
      except Exception as error:  # a peer is gone, whatever the transport calls it
        say(f"no agreement with the other processes, leaving: {error}")
        passed = [0]
      leaves = not all(passed) and not self._over.is_set()  # a program that is over leaves by itself
      if all(passed):
        self._stop_at = max(passed) + 1
      elif leaves:
        self._leaving = self._woke = True
        signal.pthread_kill(threading.main_thread().ident, signal.SIGTERM)
    self._has_agreed.set()
    if leaves:
      time.sleep(GRACE)
      os._exit(EXIT_CODE)


def _thread(function: Callable[[], object]) -> threading.Thread:
  thread = threading.Thread(target=function, daemon=True)
  thread.start()
  return thread


@contextlib.contextmanager
def handled(peers: Peers) -> Iterator[Notices]:
  """Takes SIGTERM and SIGINT as notices within the context, which the main thread must enter."""
  notices = Notices(peers)
  reader, writer = socket.socketpair()
  writer.setblocking(False)
  old_writer = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
  old_handlers = {number: signal.signal(number, notices.in_main_thread) for number in _SIGNALS}

  def listen_to_signals():  # in a thread: the main one may be busy for minutes
    while number := reader.recv(1):
      if number[0] in _SIGNALS:
        notices.on_signal(number[0])

  _thread(listen_to_signals)
  try:
    with contextlib.closing(notices):
      yield notices
  finally:
    for number, handler in old_handlers.items():
      signal.signal(number, handler)
    signal.set_wakeup_fd(old_writer)
    writer.close()
