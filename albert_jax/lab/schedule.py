"""The order of work, and the loop of a worker.

First the tuning, then seed 0 of all arms, seed 1 of all arms, and so on: wherever the work is cut, the table is
balanced and paired. What is to be done follows from the files of finished runs alone, so that workers need nothing
but claims.
"""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from albert_jax.lab.claims import Claims
from albert_jax.lab.plan import Run, reported, tuning
from albert_jax.lab.spec import Lab
from albert_jax.messages import say

Results = Mapping[str, float]  # the metric of finished runs by folder


def wanted(
  lab: Lab, results: Results, *, arms: Collection[str] = (), seeds: Collection[int] = ()
) -> list[tuple[Run, Run | None]]:
  """All runs of the lab that are known so far, finished ones included, in the order in which they are to be done.

  Args:
    lab: the spec.
    results: of finished runs; they decide which tuned values the reported runs have.
    arms: only these, and those that they start from; () = all.
    seeds: only these of the reported runs; () = all.

  Returns:
    Pairs of a run and the run that it starts from, if any.
  """
  named = [name for name in lab.arms if not arms or name in arms]
  needed = {*named, *(origin for name in named for origin in lab.origins(name))}
  tuned, compared = [], []
  best = {}
  for name in sorted(filter(needed.__contains__, lab.arms), key=lambda name: len(lab.origins(name))):
    source = lab.source_arm(name)
    if source and source not in best:
      continue
    choice = tuning(lab, name, results)
    for order, point in enumerate(choice.points):
      runs = [Run(name, point, seed) for seed in lab.tuning_seeds()] if point else []
      tuned += [((run.seed, order), run, _start(lab, run, best)) for run in runs]
    if choice.best is not None:
      best[name] = choice.best
      runs = [run for run in reported(lab, name, choice.best) if not seeds or run.seed in seeds]
      compared += [((run.seed,), run, _start(lab, run, best)) for run in runs]
  stages = (sorted(stage, key=lambda item: item[0]) for stage in (tuned, compared))
  return [(run, start) for stage in stages for _, run, start in stage]


def _start(lab: Lab, run: Run, best: Mapping) -> Run | None:
  source = lab.source_arm(run.arm)
  return Run(source, best[source], run.seed) if source else None


def work(
  list_runs: Callable[[], Sequence[tuple[Run, Run | None]]],
  is_done: Callable[[Run], bool],
  execute: Callable[[Run, Run | None], None],
  workdir: Path,
  claims: Claims,
  *,
  poll: float = 3.0,
) -> None:
  """Does runs until none is left, sharing them with all other workers of the folder.

  Args:
    list_runs: what there is to do, as `wanted` gives it.
    is_done: whether a run has finished.
    execute: does one run; it has finished when this returns.
    workdir: of the lab.
    claims: of this worker.
    poll: seconds between two looks while other workers have all that is left.
  """
  waits = False
  while todo := [(run, start) for run, start in list_runs() if not is_done(run)]:
    if _do_one(todo, is_done, execute, workdir, claims):
      waits = False
      continue
    if not waits:
      say(f"{len(todo)} runs are left, all with other workers: waiting, to take over if one of them ends")
    waits = True
    time.sleep(poll)


def _do_one(todo, is_done, execute, workdir: Path, claims: Claims) -> bool:
  for run, start in todo:
    if start is not None and not is_done(start):
      continue
    with claims.hold(workdir / run.folder) as is_mine:
      if is_mine and not is_done(run):  # it may have ended between the look and the claim
        execute(run, start)
        return True
  return False
