"""Paired statistics over seeds: intervals, Holm's correction, verdicts, and the number of seeds that a decision needs.

Run i of an arm and run i of the baseline see the same batches, so what is compared is the difference within a seed.
With three to ten seeds a bootstrap interval is far too narrow; Student's t interval of the differences has the coverage
that it promises.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import stats

LEVEL = 0.05
POWER = 0.8
MOST_SEEDS = 10_000


@dataclasses.dataclass(frozen=True)
class Mean:
  """A mean over seeds with its t interval; what cannot be computed from so few values is NaN.

  Attributes:
    n: number of values.
    mean: their mean.
    sd: their standard deviation, with n − 1.
    low, high: the 95% interval.
    p: two-sided, of the hypothesis that the mean is 0.
  """

  n: int
  mean: float
  sd: float
  low: float
  high: float
  p: float


def t_interval(values: Sequence[float]) -> Mean:
  """Mean, 95% t interval and t test of a sample."""
  x = np.asarray(values, float)
  n = len(x)
  mean = float(x.mean()) if n else math.nan
  if n < 2:
    return Mean(n, mean, math.nan, math.nan, math.nan, math.nan)
  sd = float(x.std(ddof=1))
  error = sd / math.sqrt(n)
  half = float(stats.t.ppf(1 - LEVEL / 2, n - 1)) * error
  p = float(2 * stats.t.sf(abs(mean) / error, n - 1)) if error else float(mean == 0)
  return Mean(n, mean, sd, mean - half, mean + half, p)


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
  """Holm's adjusted p values: rejecting those below α keeps the chance of any false rejection below α.

  NaN, a test that could not be made, stays NaN and counts as no test.
  """
  known = sorted((p, name) for name, p in p_values.items() if not math.isnan(p))
  adjusted, running = dict.fromkeys(p_values, math.nan), 0.0
  for rank, (p, name) in enumerate(known):
    running = max(running, min(1.0, (len(known) - rank) * p))
    adjusted[name] = running
  return adjusted


def verdict(difference: Mean, p_holm: float, margin: float) -> str:
  """One of "lower", "higher", "equal within MARGIN" and "not told apart".

  Args:
    difference: of an arm to the baseline, over the seeds.
    p_holm: its p value after Holm's correction.
    margin: the difference that matters; an interval that lies inside ±margin is "equal", significant or not.
  """
  if -margin < difference.low and difference.high < margin:
    return f"equal within {margin:g}"
  if p_holm < LEVEL:
    return "lower" if difference.mean < 0 else "higher"
  return "not told apart"


def seeds_needed(sd: float, difference: float, tests: int = 1) -> int | None:
  """The least number of seeds with which `power` reaches 80%.

  None where the standard deviation is not known, or where more than `MOST_SEEDS` would be needed.
  """
  if math.isnan(sd) or difference <= 0:
    return None
  low, high = 2, 2
  while power(high, difference, sd, tests) < POWER:
    low, high = high, 2 * high
    if high > MOST_SEEDS:
      return None
  while low < high:
    middle = (low + high) // 2
    low, high = (low, middle) if power(middle, difference, sd, tests) >= POWER else (middle + 1, high)
  return high


def power(n: int, difference: float, sd: float, tests: int = 1) -> float:
  """The chance that a paired t test with n seeds finds a difference.

  Args:
    n: seeds.
    difference: the true one.
    sd: standard deviation of the difference between one seed and another.
    tests: how many are made together; Holm's correction asks 5% / tests of the first.
  """
  if sd == 0:
    return 1.0
  shift = difference / sd * math.sqrt(n)
  critical = stats.t.ppf(1 - LEVEL / 2 / tests, n - 1)
  return float(stats.nct.sf(critical, n - 1, shift) + stats.nct.cdf(-critical, n - 1, shift))
