"""Curves over the training: the metric of each arm, and its paired difference to the baseline."""

import math
from collections.abc import Mapping

import numpy as np

from albert_jax.lab import statistics
from albert_jax.lab.runs import Finished
from albert_jax.lab.spec import Lab


def curves(lab: Lab, runs: Mapping[str, Mapping[int, Finished]]) -> dict[str, dict]:
  """`steps`, `fraction` of the training, `mean`, `low` and `high` (of the seeds), and `difference`, by arm.

  The difference is taken within each seed, at the same fraction of the training, and has a t interval.
  """
  found = {}
  baseline = _series(lab, runs[lab.baseline])
  for name in lab.arms:
    series = _series(lab, runs[name])
    if not series:
      continue
    steps, _ = next(iter(series.values()))
    values = np.array([of_seed for _, of_seed in series.values()])
    found[name] = {
      "steps": [int(step) for step in steps],
      "fraction": [step / steps[-1] for step in steps],
      "mean": values.mean(0).tolist(),
      "low": values.min(0).tolist(),
      "high": values.max(0).tolist(),
    }
    if name != lab.baseline:
      found[name]["difference"] = _difference(series, baseline)
  return found


def _series(lab: Lab, runs: Mapping[int, Finished]) -> dict[int, tuple[np.ndarray, np.ndarray]]:
  """Steps and values of the runs that came to their end, if they were evaluated at the same steps."""
  found = {seed: tuple(map(np.array, run.curve(lab.metric))) for seed, run in runs.items() if run.is_whole}
  found = {seed: pair for seed, pair in found.items() if len(pair[0])}
  first = next(iter(found.values()), None)
  return {seed: pair for seed, pair in found.items() if np.array_equal(pair[0], first[0])}


def _difference(series: Mapping, baseline: Mapping) -> dict[str, list]:
  common = [seed for seed in series if seed in baseline]
  if not common:
    return {"fraction": [], "mean": [], "low": [], "high": []}
  fraction = series[common[0]][0] / series[common[0]][0][-1]
  differences = []
  for seed in common:
    steps, values = baseline[seed]
    differences.append(series[seed][1] - np.interp(fraction, steps / steps[-1], values))
  means = [statistics.t_interval(column) for column in np.array(differences).T]
  return {
    "fraction": fraction.tolist(),
    "mean": [mean.mean for mean in means],
    "low": [mean.low if math.isfinite(mean.low) else mean.mean for mean in means],
    "high": [mean.high if math.isfinite(mean.high) else mean.mean for mean in means],
  }
