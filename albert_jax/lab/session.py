"""A worker's session: resolve the spec, announce the plan, run it, write the report."""

import contextlib
import math
import time
from collections.abc import Collection, Sequence
from pathlib import Path

import jax

from albert_jax.errors import InputError, unknown
from albert_jax.lab import plan, schedule, spec, timing
from albert_jax.lab.analyse import analyse
from albert_jax.lab.claims import Claims
from albert_jax.lab.outcome.runs import ResultsByFolder
from albert_jax.lab.plan import Arm, Run
from albert_jax.lab.runner import execute, status
from albert_jax.lab.spec import Lab
from albert_jax.messages import say
from albert_jax.runtime import preemption
from albert_jax.runtime.supervisor import NoticeBoard
from albert_jax.training.compiled_step import Executables

TIMING = "timing"  # the folder in which the worker that measures times leaves its claim


class Budget:
  """Notices, and one more when the time is over: the run at work is then saved, and no other begins.

  Args:
    seconds: 0 = no limit.
    notices: of signals.
  """

  def __init__(self, seconds: float, notices: NoticeBoard):
    self._end = time.monotonic() + (seconds or math.inf)
    self._notices = notices

  @property
  def is_over(self) -> bool:
    """Whether the time is over."""
    return time.monotonic() > self._end

  def check(self) -> None:
    """Raises `Stop` after a notice, or when the time is over."""
    self._notices.check()
    if self.is_over:
      raise preemption.Stop

  def graceful(self) -> contextlib.AbstractContextManager[None]:
    """As for signals."""
    return self._notices.graceful()


class Session:
  """A lab in its folder.

  Args:
    lab: the spec.
    workdir: of the lab.
    arms: work on these only; () = all.
    seeds: work on these of the reported runs only; () = all.

  Raises:
    InputError: the folder is that of another lab, an arm does not exist, or a config does not fit together.
  """

  def __init__(self, lab: Lab, workdir: str, *, arms: Collection[str] = (), seeds: Collection[int] = ()):
    for name in arms:
      if name not in lab.arms:
        raise unknown("arm of --only", name, lab.arms)
    spec.check_same(lab, workdir)
    self.lab, self.workdir, self._only = lab, workdir, {"arms": arms, "seeds": seeds}
    self._results = ResultsByFolder(lab, workdir)

  def arms(self) -> dict[str, Arm]:
    """The arms, resolved; times are measured where they are to be matched."""
    seconds = self._seconds() if self.lab.match == "time" else None
    return plan.make_arms(self.lab, seconds)

  def work(self, claims: Claims, budget: Budget, arguments: Sequence[str] = ()) -> None:
    """Does what is left, together with all other workers.

    Args:
      claims: of this worker.
      budget: tells when to stop.
      arguments: of the command, for the page.

    Raises:
      SystemExit: with `preemption.EXIT_CODE`, after a signal or at the end of the budget; the run at work is saved.
    """
    if jax.process_count() > 1:
      raise InputError(
        "A worker of a lab is one process: start the command once on each machine, without a coordinator."
      )
    arms = self.arms()
    plan.save(self.lab, arms, self.workdir, arguments)

    executables = Executables()

    def do(run: Run, start: Run | None) -> None:
      say(f"run {run.folder}")
      config = plan.run_config(self.lab, arms[run.arm], run, self.workdir, start)
      folder = str(Path(self.workdir) / run.folder)
      execute(config, folder, measure_memory=run.seed == 0, executables=executables, notices=budget)
      say(f"ended {run.folder}")

    def list_runs():
      if budget.is_over:
        raise SystemExit(preemption.EXIT_CODE)
      return self.runs()

    schedule.work(list_runs, self.is_done, do, Path(self.workdir), claims)
    if self.lab.analyses:
      self._analyse(claims)

  def runs(self) -> list[tuple[Run, Run | None]]:
    """All runs that are known so far, in the order of work."""
    return schedule.wanted(self.lab, self._results.refresh(), **self._only)

  def is_done(self, run: Run) -> bool:
    """Whether a run has ended."""
    return run.folder in self._results or bool(status(Path(self.workdir) / run.folder))

  def _analyse(self, claims: Claims) -> None:
    first = {}
    for run, _ in self.runs():
      if not run.is_tuning:
        first.setdefault(run.arm, run)
    for run in first.values():
      analyse(self.lab, run, self.workdir, claims)

  def _seconds(self) -> dict[str, float]:
    configs = {name: plan.arm_config(self.lab, name) for name in self.lab.arms}
    while True:
      with Claims().hold(Path(self.workdir) / TIMING) as is_mine:
        if is_mine or (Path(self.workdir) / timing.FILE).exists():
          return timing.step_seconds(configs, self.workdir)
      time.sleep(2)
