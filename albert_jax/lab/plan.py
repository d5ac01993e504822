"""From a spec to its runs: the config of each, what it costs, and the choice of the tuned values."""

import dataclasses
import itertools
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ml_collections

from albert_jax.errors import InputError
from albert_jax.lab import spec
from albert_jax.lab.cost import Cost, cost
from albert_jax.lab.match import match_arm
from albert_jax.lab.spec import TUNING_SEED, Lab, Overrides, apply

RUNS = "runs"
Point = tuple[tuple[str, Any], ...]  # of the grid: (key, value) pairs


@dataclasses.dataclass(frozen=True)
class Run:
  """One training.

  Attributes:
    arm: name of the arm.
    point: values of the tuned keys; () where nothing is tuned.
    seed: `TUNING_SEED` and above are runs of the tuning.
  """

  arm: str
  point: Point
  seed: int

  @property
  def is_tuning(self) -> bool:
    """Whether the run only serves to choose the tuned values."""
    return self.seed >= TUNING_SEED

  @property
  def folder(self) -> str:
    """Its workdir, within that of the lab."""
    values = ",".join(f"{key.rpartition('.')[2]}={_text(value)}" for key, value in self.point)
    return "/".join(filter(None, (RUNS, self.arm, values, f"seed={self.seed}")))


@dataclasses.dataclass(frozen=True)
class Arm:
  """An arm, resolved.

  Attributes:
    name: its name.
    overrides: what differs from the base, with what the match adds.
    cost: of one of its runs.
    match_error: the relative error of what is matched.
  """

  name: str
  overrides: Overrides
  cost: Cost
  match_error: float


@dataclasses.dataclass(frozen=True)
class Choice:
  """The state of the tuning of an arm.

  Attributes:
    grid: values by key, those that were added at an edge included.
    scores: mean metric of each point that has all its runs; a run that diverged makes it infinitely bad.
    best: the chosen point, once the whole grid is known.
    at_edge: keys whose chosen value is the least or the greatest of its grid.
    missing: runs that the choice waits for.
  """

  grid: dict[str, tuple]
  scores: dict[Point, float]
  best: Point | None
  at_edge: tuple[str, ...]
  missing: tuple[Run, ...]

  @property
  def points(self) -> list[Point]:
    """All points of the grid; a grid without keys has one."""
    return [tuple(zip(self.grid, values)) for values in itertools.product(*self.grid.values())]


def make_arms(lab: Lab, seconds: Mapping[str, float] | None = None) -> dict[str, Arm]:
  """Resolves the arms of a spec.

  Args:
    lab: the spec.
    seconds: of a step of each arm, where the match is time.

  Raises:
    InputError: a config does not fit together, or nothing matches; names the arm.
  """
  arms = {}
  baseline = arm_config(lab, lab.baseline)
  for name, overrides in lab.arms.items():
    try:
      config = arm_config(lab, name)
      pair = (seconds[name], seconds[lab.baseline]) if seconds else None
      matched, error = match_arm(config, baseline, lab.match, pair)
      arms[name] = Arm(name, {**overrides, **matched}, cost(apply(config, matched, f"arm {name}")), error)
    except InputError as error:
      raise error if name in str(error) else InputError(f"arm {name}: {error}") from error
  return arms


def arm_config(lab: Lab, name: str) -> ml_collections.ConfigDict:
  """The config of an arm before it is matched."""
  overrides = {key: value for key, value in lab.arms[name].items() if key != "init_from"}
  config = apply(lab.base, overrides, f"arm {name}")
  with config.unlocked():
    config.update(name=name, seeds=1)
  return config


def run_config(lab: Lab, arm: Arm, run: Run, workdir: str, start: Run | None) -> ml_collections.ConfigDict:
  """The config of a run.

  Args:
    lab: the spec.
    arm: of the run.
    run: the run.
    workdir: of the lab.
    start: the run whose parameters it starts from, if it is another arm's.
  """
  config = apply(lab.base, {**arm.overrides, **dict(run.point)}, f"arm {arm.name}")
  with config.unlocked():
    config.update(name=f"{lab.name}/{run.folder}", seed=run.seed, seeds=1)
    if start is not None:
      config.init_from = str(Path(workdir) / start.folder)
  return config


def tuning(lab: Lab, arm: str, results: Mapping[str, float]) -> Choice:
  """What is known of an arm's tuned values.

  The grid grows by one value beyond an edge where the best point lies, at most `tune_extend` times; since that depends
  on finished runs only, all workers come to the same choice.

  Args:
    lab: the spec.
    arm: name of the arm.
    results: the metric of each finished run by its folder; infinite, or NaN, where it diverged.
  """
  grid = {key: tuple(sorted(values)) if _is_numeric(values) else tuple(values) for key, values in lab.tune.items()}
  for extensions_left in range(lab.tune_extend, -1, -1):
    choice = _choose(lab, arm, grid, results)
    if choice.best is None or not choice.at_edge or not extensions_left:
      return choice
    grid = {key: _extended(values, dict(choice.best)[key], key in choice.at_edge) for key, values in grid.items()}
  return choice


def _choose(lab: Lab, arm: str, grid: dict[str, tuple], results: Mapping[str, float]) -> Choice:
  points = Choice(grid, {}, None, (), ()).points
  scores, missing = {}, []
  sign = 1 if lab.lower_is_better else -1
  for point in points:
    runs = [Run(arm, point, seed) for seed in lab.tuning_seeds()] if grid else []
    missing += [run for run in runs if run.folder not in results]
    found = [_finite(sign * results[run.folder]) for run in runs if run.folder in results]
    if len(found) == len(runs):
      scores[point] = sign * statistics.fmean(found) if found else math.nan
  if missing:
    return Choice(grid, scores, None, (), tuple(missing))
  best = min(points, key=lambda point: sign * scores[point]) if grid else ()
  at_edge = [k for k, value in best if _is_numeric(grid[k]) and value in (grid[k][0], grid[k][-1])]
  return Choice(grid, scores, best, tuple(at_edge), ())


def _finite(value: float) -> float:
  return value if math.isfinite(value) else math.inf


def _extended(values: tuple, best: Any, at_edge: bool) -> tuple:
  """A grid with one more value beyond the edge where the best one lies, at the ratio of its neighbours."""
  if not at_edge:
    return values
  low_end = best == values[0]
  ratio = values[1] / values[0] if low_end else values[-1] / values[-2]
  new = float(f"{values[0] / ratio if low_end else values[-1] * ratio:.6g}")
  if isinstance(values[0], int):
    new = round(new)
  if new in values:
    return values
  return (new, *values) if low_end else (*values, new)


def _is_numeric(values: tuple) -> bool:
  return all(isinstance(value, int | float) and not isinstance(value, bool) and value > 0 for value in values)


def _text(value: Any) -> str:
  return f"{value:.6g}" if isinstance(value, float) else str(value).replace("/", "_")


def reported(lab: Lab, arm: str, point: Point) -> list[Run]:
  """The runs of an arm that the report compares."""
  runs = [Run(arm, point, seed) for seed in range(lab.seeds)]
  assert not any(run.is_tuning for run in runs), "a seed of the tuning must never be reported"
  return runs


def to_record(lab: Lab, arms: Mapping[str, Arm]) -> dict:
  """The arms as JSON data; `flops` are those of a run and of the runs that it descends from."""

  def flops(name: str) -> float:
    return sum(arms[stage].cost.flops for stage in (name, *lab.origins(name)))

  return {name: dataclasses.asdict(arm) | {"flops": flops(name)} for name, arm in arms.items()}


def save(lab: Lab, arms: Mapping[str, Arm], workdir: str, arguments: Sequence[str] = ()) -> None:
  """Writes spec, plan and the command's arguments to `lab.json`."""
  spec.save(lab, workdir, plan={"arms": to_record(lab, arms)}, arguments=list(arguments))
