"""The worth of one more pass through shared weights: the exponent φ of arXiv 2604.21106.

A model whose groups of weights have n_g parameters and are read r_g times is as good as one without sharing that has
N_eff = Σ n_g · r_g^φ parameters: with φ = 0 reading again is worth nothing, with φ = 1 as much as new weights. Models
without sharing, of several sizes, give the loss at N parameters; the loss of a model that shares gives its N_eff, and φ
follows. If only the attention is shared, it is the φ of the attention.
"""

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import optimize

from albert_jax.lab.outcome import statistics
from albert_jax.lab.outcome.compare import ArmRuns

_RANGE = (-3.0, 3.0)

Readers = Mapping[str, Mapping[str, int]]  # parameters by part and by the number of layers that read them


def phi(readers: Mapping[str, Readers], runs: Mapping[str, ArmRuns]) -> dict | None:
  """φ of every arm that shares.

  Args:
    readers: of each arm, as in `cost.Cost`.
    runs: of each arm.

  Returns:
    `references`, the arms without sharing with their parameters, and by arm: `per_seed`, the interval of their mean,
    and `shared`, the parts that share. A seed whose loss lies outside those of the references has no φ, and counts in
    `outside`. None where fewer than two sizes without sharing have been trained.
  """
  counts = {name: _counts(parts) for name, parts in readers.items()}
  references = {name: sum(c.values()) for name, c in counts.items() if set(c) == {1} and runs[name].good}
  if len(set(references.values())) < 2:
    return None
  loops = {}
  for name, arm in runs.items():
    if set(counts[name]) == {1} or not arm.good:
      continue
    values, outside = [], 0
    for seed, loss in sorted(arm.good.items()):
      sizes = [(size, runs[ref].good[seed]) for ref, size in references.items() if seed in runs[ref].good]
      found = solve(counts[name], loss, sizes)
      if found is None:
        outside += 1
      else:
        values.append(found)
    shared = [part for part, by in readers[name].items() if any(int(r) > 1 for r in by)]
    loops[name] = {"per_seed": values, "outside": outside, "shared": shared}
    loops[name] |= {key: getattr(statistics.t_interval(values), key) for key in ("n", "mean", "sd", "low", "high")}
  return {"references": references, "arms": loops} if loops else None


def solve(counts: Mapping[int, int], loss: float, sizes: Sequence[tuple[float, float]]) -> float | None:
  """φ of one model.

  Args:
    counts: its parameters by how often they are read.
    loss: its loss.
    sizes: (parameters, loss) of models without sharing; between them the loss is linear in log N.

  Returns:
    φ, or None where the loss lies outside those of the models without sharing, or those do not fall with size.
  """
  sizes = sorted(sizes)
  losses = [size_loss for _, size_loss in sizes]
  if len(sizes) < 2 or any(a <= b for a, b in itertools.pairwise(losses)) or not losses[-1] <= loss <= losses[0]:
    return None
  effective = math.exp(np.interp(-loss, [-value for value in losses], [math.log(size) for size, _ in sizes]))

  def excess(exponent: float) -> float:
    return sum(count * reads**exponent for reads, count in counts.items()) - effective

  if excess(_RANGE[0]) > 0 or excess(_RANGE[1]) < 0:
    return None
  return float(optimize.brentq(excess, *_RANGE))


def _counts(parts: Readers) -> dict[int, int]:
  total: dict[int, int] = {}
  for by_reads in parts.values():
    for reads, count in by_reads.items():
      total[int(reads)] = total.get(int(reads), 0) + count
  return total
