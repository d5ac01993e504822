"""What a worker does with a lab: resolve the spec, say what it will do, do it, write the report."""

import json
import threading
import os
import signal
from collections.abc import Collection, Sequence
from pathlib import Path

import jax

from albert_jax.errors import InputError, unknown
from albert_jax.lab import plan, schedule, spec, timing
from albert_jax.lab.analyse import analyse
from albert_jax.lab.claims import Claims
from albert_jax.lab.plan import Arm, Run
from albert_jax.lab.runner import execute, status
from albert_jax.lab.runs import ResultsByFolder
from albert_jax.lab.spec import Lab
from albert_jax.messages import say

TIMING = "timing"  # the folder in which the worker that measures times leaves its claim


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

  def work(self, claims: Claims, arguments: Sequence[str] = ()) -> None:
    """Does what is left, together with all other workers.

    Args:
      claims: of this worker.
      arguments: of the command, for the page.

    Raises:
      SystemExit: with `preemption.EXIT_CODE`, after a signal; the run at work is saved.
    """
    if jax.process_count() > 1:
      raise InputError(
        "A worker of a lab is one process: start the command once on each machine, without a coordinator."
      )
    arms = self.arms()
    plan.save(self.lab, arms, self.workdir, arguments)

    def do(run: Run, start: Run | None) -> None:
      say(f"run {run.folder}")
      config = plan.run_config(self.lab, arms[run.arm], run, self.workdir, start)
      execute(config, str(Path(self.workdir) / run.folder), measure_memory=run.seed == 0)

    schedule.work(self.runs, self.is_done, do, Path(self.workdir), claims)
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
      threading.Event().wait(2)


class Budget:
  """Ends the work after some time, as SIGTERM would: what is being trained is saved.

  Args:
    seconds: 0 = no limit.
  """

  def __init__(self, seconds: float):
    self.is_over = False
    self._timer = threading.Timer(seconds, self._end) if seconds else None

  def __enter__(self) -> "Budget":
    if self._timer:
      self._timer.daemon = True
      self._timer.start()
    return self

  def __exit__(self, *_) -> None:
    if self._timer:
      self._timer.cancel()

  def _end(self) -> None:
    self.is_over = True
    say("the budget is used up")
    os.kill(os.getpid(), signal.SIGTERM)


def parse_duration(text: str) -> float:
  """Seconds of "90", "90s", "10m" or "2h"; "" is 0, no limit.

  Raises:
    InputError: it is none of these.
  """
  units = {"s": 1, "m": 60, "h": 3600}
  number, unit = (text[:-1], units[text[-1]]) if text[-1:] in units else (text, 1)
  try:
    seconds = float(number or 0) * unit
  except ValueError:
    seconds = -1
  if not 0 <= seconds < float("inf"):
    raise InputError(f"--budget={text} is no duration: write 90s, 10m or 2h.")
  return seconds


def parse_only(items: Collection[str]) -> dict[str, tuple]:
  """The arms and seeds of "arm=all,arm=none,seed=0".

  Raises:
    InputError: something else is there.
  """
  arms, seeds = [], []
  for item in items:
    key, _, value = item.partition("=")
    if key == "arm" and value:
      arms.append(value)
    elif key == "seed" and value.isdecimal():
      seeds.append(int(value))
    else:
      raise InputError(f"--only={item}: write arm=NAME or seed=N, several with commas.")
  return {"arms": tuple(arms), "seeds": tuple(seeds)}


def plan_text(session: Session) -> str:
  """Every run that is planned, with what it costs; the last line is JSON. Allocates nothing, except to match times."""
  lab, arms = session.lab, session.arms()
  rate = timing.assumed_flops_per_second()
  header = ("arm", "body", "total", "FLOPs/token", "steps", "tokens", "match", "est. time")
  rows = [header]
  for name, arm in arms.items():
    cost = arm.cost
    hours = cost.flops / rate / 60
    per_token = f"{cost.flops_per_token:.4g}"
    counts = (f"{cost.body:,}", f"{cost.total:,}", per_token, f"{cost.steps:,}", f"{cost.tokens:,}")
    rows.append((name, *counts, f"{arm.match_error:+.3%}", f"{hours:.1f} min"))
  widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
  table = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths)) for row in rows]
  runs = planned_runs(session)
  per_run = {name: arm.cost.flops / rate for name, arm in arms.items()}
  left = sum(per_run[arm] for arm, _, _, is_done in runs if not is_done)
  lines = [f"  {folder}{'  done' if is_done else ''}" for _, folder, _, is_done in runs]
  record = {
    "arms": plan.to_record(arms),
    "runs": [{"arm": arm, "folder": folder, "seed": seed, "done": done} for arm, folder, seed, done in runs],
    "assumed_flops_per_second": rate,
    "estimated_seconds": left,
  }
  return "\n".join(
    [
      f"{lab.name}: {lab.question}",
      f"match={lab.match}, baseline {lab.baseline}, metric {lab.metric}, margin {lab.margin:g}",
      *table,
      f"{len(runs)} runs, about {left / 60:,.0f} minutes at an assumed {rate:.2g} FLOP/s and without compilation",
      *lines,
      json.dumps(record),
    ]
  )


def planned_runs(session: Session) -> list[tuple[str, str, int, bool]]:
  """(arm, folder, seed, done) of every run; where the tuning is not done, the reported ones' values are not known."""
  lab = session.lab
  known = [(run.arm, run.folder, run.seed, session.is_done(run)) for run, _ in session.runs()]
  with_reports = {arm for arm, _, seed, _ in known if seed < spec.TUNING_SEED}
  later = [
    (name, f"{plan.RUNS}/{name}/(tuned)/seed={seed}", seed, False)
    for seed in range(lab.seeds)
    for name in lab.arms
    if name not in with_reports
  ]
  return known + later
