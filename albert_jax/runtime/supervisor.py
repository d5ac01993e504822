"""The supervisor of a long run: a watchdog, and notices of preemption."""

import contextlib
import dataclasses
from typing import Protocol

from albert_jax.runtime.watchdog import Watchdog


class NoticeBoard(Protocol):
  """Where notices of preemption are looked up, see `preemption.Notices`."""

  def check(self) -> None:
    """Passes a point that every process of the job passes; raises `preemption.Stop` if it is the one to stop at."""

  def graceful(self) -> contextlib.AbstractContextManager[None]:
    """Within the context a notice waits for a `check`."""


class NoNotices:
  """For a run that signals end at once."""

  def check(self) -> None:
    """Nothing asks it to stop."""

  def graceful(self) -> contextlib.AbstractContextManager[None]:
    """Nothing waits."""
    return contextlib.nullcontext()


@dataclasses.dataclass(frozen=True)
class Supervisor:
  """Watchdog and notices of one run; by default neither."""

  watchdog: Watchdog = dataclasses.field(default_factory=lambda: Watchdog(0))
  notices: NoticeBoard = dataclasses.field(default_factory=NoNotices)

  def beat(self) -> None:
    """A sign of life: a step or an evaluation batch has come back from the devices."""
    self.watchdog.beat()

  def slow(self) -> contextlib.AbstractContextManager[None]:
    """Allows what is done in the context more time without a sign of life."""
    return self.watchdog.slow()

  def check(self) -> None:
    """A point at which every process has done the same: here a notice ends the run, by `preemption.Stop`."""
    self.notices.check()
