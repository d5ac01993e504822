"""Ends a run that hangs: stuck input, a dead peer, a device that does not answer.

A hanging run would keep its machines forever. The watchdog prints every thread's stack and ends the process with a
status of its own, so that a supervisor can restart it from the newest checkpoint.
"""

import contextlib
import faulthandler
import os
import sys
import threading
import time
from collections.abc import Iterator

from albert_jax.messages import say

EXIT_CODE = 124  # as timeout(1)
SLOW = 3600.0  # seconds that compiling, saving or scoring may take; they give no sign of life in between


class Watchdog:
  """Waits for signs of life, in a thread of its own.

  Args:
    timeout: seconds without one after which the process ends; 0 = never.
  """

  def __init__(self, timeout: float):
    self._timeout = self._allowance = timeout
    self._stopped = threading.Event()
    self.beat()
    if timeout:
      threading.Thread(target=self._watch, daemon=True).start()

  def beat(self) -> None:
    """A sign of life."""
    self._deadline = time.monotonic() + self._allowance

  @contextlib.contextmanager
  def slow(self) -> Iterator[None]:
    """Allows what is done in the context more time."""
    self._allowance = max(self._timeout, SLOW)
    self.beat()
    try:
      yield
    finally:
      self._allowance = self._timeout
      self.beat()

  def stop(self) -> None:
    """Ends the watch."""
    self._stopped.set()

  def _watch(self) -> None:
    while not self._stopped.wait(min(1.0, self._timeout / 4)):
      if time.monotonic() > self._deadline:
        say(f"watchdog: nothing has happened for {self._allowance:g} s (train.timeout); every thread's stack follows")
        faulthandler.dump_traceback(file=sys.__stderr__, all_threads=True)
        os._exit(EXIT_CODE)


@contextlib.contextmanager
def watching(timeout: float) -> Iterator[Watchdog]:
  """Ends the process when `beat` is not called for `timeout` seconds within the context; 0 = never."""
  watchdog = Watchdog(timeout)
  try:
    yield watchdog
  finally:
    watchdog.stop()
