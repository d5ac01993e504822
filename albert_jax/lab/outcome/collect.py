"""The results of a lab as one record, a pure function of the files of its runs: what `results.json` holds."""

import math
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_collections

from albert_jax.json_files import read_json
from albert_jax.lab.outcome import compare, curves, phi
from albert_jax.lab.outcome.compare import ArmRuns
from albert_jax.lab.outcome.runs import Finished, ResultsByFolder, read_finished
from albert_jax.lab.plan import Choice, Run, reported, tuning
from albert_jax.lab.spec import Lab, read

ANALYSIS = "analysis"


def collect(workdir: str) -> dict:
  """Everything that the page shows; times and where they were measured are under `measured`.

  Raises:
    InputError: the folder holds no lab.
  """
  record = read(workdir)
  lab, plan = from_record(record["spec"]), record["plan"]["arms"]
  results = ResultsByFolder(lab, workdir).refresh()
  choices = _choices(lab, results)
  runs = {name: _reported(lab, name, choices.get(name), workdir) for name in lab.arms}
  arm_runs = {name: _arm_runs(lab, found) for name, found in runs.items()}
  compared = compare.compare(lab, arm_runs)
  measured = _with_origins(lab, {name: _measured(plan[name], lab, found) for name, found in runs.items()})
  costs = {name: _costs(plan[name], measured[name], runs[name]) for name in lab.arms}
  finished = [run for found in runs.values() for run in found.values()]
  return jsonable(
    {
      "lab": _summary(record["spec"], lab),
      "progress": {"finished": len(finished), "planned": lab.seeds * len(lab.arms), "tuning": _tuning_counts(choices)},
      "arms": {name: _arm(plan[name], costs[name], choices.get(name), compared[name], runs[name]) for name in lab.arms},
      "fronts": _fronts(lab, costs, arm_runs, ("params", "flops", "memory")),
      "curves": curves.curves(lab, runs),
      "phi": phi.phi({name: plan[name]["cost"]["readers"] for name in lab.arms}, arm_runs),
      "analyses": read_analyses(workdir, lab),
      "runs": _runs(lab, choices, workdir),
      "arguments": record.get("arguments", []),
      "data": sorted({run.data for run in finished if run.data}),
      "measured": {
        "arms": measured,
        "front": _fronts(lab, costs, arm_runs, ("time",)),
        "environment": {
          key: sorted({str(run.done[key]) for run in finished if run.done.get(key)})
          for key in ("device", "jax", "commit")
        },
      },
    }
  )


def from_record(record: Mapping) -> Lab:
  """The spec that `lab.json` holds."""
  base = ml_collections.ConfigDict(record["base"]).lock()
  tune = {key: tuple(values) for key, values in record["tune"].items()}
  return Lab(**{**record, "base": base, "tune": tune, "analyses": tuple(record["analyses"])})


def _summary(record: Mapping, lab: Lab) -> dict:
  return {**{key: value for key, value in record.items() if key != "base"}, "lower_is_better": lab.lower_is_better}


def _choices(lab: Lab, results: Mapping[str, float]) -> dict[str, Choice]:
  return {name: tuning(lab, name, results) for name in lab.arms}


def _tuning_counts(choices: Mapping[str, Choice]) -> dict:
  return {name: {"missing": len(choice.missing)} for name, choice in choices.items() if choice.grid}


def _runs(lab: Lab, choices: Mapping[str, Choice], workdir: str) -> list[dict]:
  """Every run that has ended: of the tuning, and those that are compared."""
  found = []
  for name, choice in choices.items():
    tuned = [Run(name, point, seed) for point in choice.points for seed in lab.tuning_seeds()] if choice.grid else []
    compared = reported(lab, name, choice.best) if choice.best is not None else []
    for run in (*tuned, *compared):
      finished = read_finished(Path(workdir) / run.folder)
      if finished is not None:
        record = {
          "arm": name,
          "point": dict(run.point),
          "seed": run.seed,
          "tuning": run.is_tuning,
          "folder": run.folder,
        }
        record |= {"status": finished.done["status"], "steps": finished.done.get("steps"), "metrics": finished.last()}
        found.append(record | {"value": finished.value(lab.metric, lab.average)})
  return found


def _reported(lab: Lab, name: str, choice: Choice | None, workdir: str) -> dict[int, Finished]:
  if choice is None or choice.best is None:
    return {}
  found = {run.seed: read_finished(Path(workdir) / run.folder) for run in reported(lab, name, choice.best)}
  return {seed: run for seed, run in found.items() if run is not None}


def _arm_runs(lab: Lab, found: Mapping[int, Finished]) -> ArmRuns:
  values = {seed: run.value(lab.metric, lab.average) for seed, run in found.items()}
  gaps = [gap for seed, run in found.items() if math.isfinite(values[seed]) and (gap := _gap(lab, run)) is not None]
  return ArmRuns(values, statistics.fmean(gaps) if gaps else None)


def _gap(lab: Lab, run: Finished) -> float | None:
  """By how much the last evaluation is below the unigram loss: an average of several would tell of an earlier model."""
  split, _, name = lab.metric.partition("/")
  last = run.last()
  ends = [last.get(f"{split}/unigram_loss"), last.get(lab.metric)]
  return ends[0] - ends[1] if name == "mlm_loss" and all(isinstance(end, int | float) for end in ends) else None


def _measured(plan: Mapping, lab: Lab, found: Mapping[int, Finished]) -> dict:
  positions = plan["cost"]["tokens"] / plan["cost"]["steps"]
  times = [time for run in found.values() if math.isfinite(time := run.step_seconds(positions))]
  step = statistics.median(times) if times else math.nan
  seconds = [float(run.done["seconds"]) for run in found.values() if run.done.get("seconds")]
  return {
    "step_seconds": step,
    "stepping_seconds": step * plan["cost"]["steps"],
    "run_seconds": statistics.fmean(seconds) if seconds else math.nan,
  }


def _with_origins(lab: Lab, measured: Mapping[str, dict]) -> dict[str, dict]:
  """The same, with the seconds of stepping of the arms that an arm descends from among its own."""
  seconds = {name: of_arm["stepping_seconds"] for name, of_arm in measured.items()}
  return {
    name: of_arm | {"stepping_seconds": sum(seconds[stage] for stage in (name, *lab.origins(name)))}
    for name, of_arm in measured.items()
  }


def _costs(plan: Mapping, measured: Mapping, found: Mapping[int, Finished]) -> dict[str, float]:
  temporary = [run.done["temporary_bytes"] for run in found.values() if run.done.get("temporary_bytes")]
  return {
    "params": plan["cost"]["body"],
    "flops": plan["flops"],
    "memory": plan["cost"]["bytes_per_device"] + max(temporary) if temporary else math.nan,
    "time": measured["stepping_seconds"],
  }


def _fronts(lab: Lab, costs: Mapping, arm_runs: Mapping[str, ArmRuns], axes: tuple[str, ...]) -> dict:
  found = {}
  for axis in axes:
    of_axis = {name: costs[name][axis] for name in costs}
    members = compare.front(lab, of_axis, arm_runs)
    found[axis] = {"members": members, "is_one_cost": compare.is_one_cost(list(of_axis.values()))}
  return found


def _arm(
  plan: Mapping, costs: Mapping, choice: Choice | None, compared: Mapping, found: Mapping[int, Finished]
) -> dict:
  last = [run.last() for run in found.values() if run.is_whole]
  names = sorted({name for metrics in last for name in metrics})
  secondary = {name: _mean([metrics.get(name) for metrics in last]) for name in names}
  return {
    "overrides": plan["overrides"],
    "cost": plan["cost"] | {"flops": plan["flops"], "memory": costs["memory"]},
    "match_error": plan["match_error"],
    "tuning": _tuning(choice),
    "seeds": {str(seed): run.done["status"] for seed, run in found.items()},
    **compared,
    "metrics": secondary,
  }


def _mean(values: list) -> float:
  known = [value for value in values if isinstance(value, int | float)]
  return statistics.fmean(known) if known else math.nan


def _tuning(choice: Choice | None) -> dict:
  if choice is None or not choice.grid:
    return {}
  return {
    "grid": choice.grid,
    "scores": [{"point": dict(point), "score": score} for point, score in choice.scores.items()],
    "best": None if choice.best is None else dict(choice.best),
    "at_edge": choice.at_edge,
    "missing": len(choice.missing),
  }


def read_analyses(workdir: str, lab: Lab) -> dict[str, dict]:
  """The records of the analyses by arm, where there are any."""
  found = {}
  for name in lab.arms:
    paths = sorted((Path(workdir) / ANALYSIS / name).glob("seed=*.json"))
    if paths:
      found[name] = read_json(paths[0], {}, hint="Run the analysis of the arm again.")
  return found


def jsonable(value: Any) -> Any:
  """Data that JSON can hold: None for what is not finite, texts for keys, lists for tuples."""
  if isinstance(value, Mapping):
    return {str(key): jsonable(item) for key, item in value.items()}
  if isinstance(value, list | tuple):
    return [jsonable(item) for item in value]
  return None if isinstance(value, float) and not math.isfinite(value) else value
