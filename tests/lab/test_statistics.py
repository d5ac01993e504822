import math

import numpy as np
import pytest
from scipy import stats

from albert_jax.lab import statistics as lab_statistics
from albert_jax.lab.statistics import Mean, holm, power, seeds_needed, t_interval, verdict


def test_interval_and_p_are_those_of_scipys_paired_test():
  rng = np.random.default_rng(0)
  a, b = rng.normal(size=(2, 6))
  found, expected = t_interval(a - b), stats.ttest_rel(a, b)
  interval = expected.confidence_interval()
  np.testing.assert_allclose([found.p, found.low, found.high], [expected.pvalue, interval.low, interval.high])
  assert found.n == 6


def test_too_few_values_give_no_interval():
  assert t_interval([1.5]).mean == 1.5
  assert math.isnan(t_interval([1.5]).low)
  assert math.isnan(t_interval([]).mean)
  assert t_interval([0.0, 0.0]).p == 1  # no spread and no difference


def test_holm_by_hand():
  adjusted = holm({"a": 0.01, "b": 0.04, "c": 0.03, "not made": math.nan})
  assert adjusted == pytest.approx({"a": 0.03, "c": 0.06, "b": 0.06, "not made": math.nan}, nan_ok=True)


@pytest.mark.parametrize(
  ("low", "high", "p", "words"),
  [
    (-0.30, -0.10, 0.01, "lower"),
    (0.10, 0.30, 0.01, "higher"),
    (-0.10, 0.30, 0.30, "not told apart"),
    (0.01, 0.30, 0.06, "not told apart"),  # the interval alone would say so, but there are other tests
    (-0.01, 0.04, 0.30, "equal within 0.05"),
    (0.01, 0.04, 0.01, "equal within 0.05"),
  ],
)
def test_verdicts(low, high, p, words):
  assert verdict(Mean(5, (low + high) / 2, 0.1, low, high, p), p, 0.05) == words


def test_seeds_needed_is_the_least_number_with_enough_power():
  needed = seeds_needed(1.0, 1.7)
  assert power(needed, 1.7, 1.0) >= lab_statistics.POWER > power(needed - 1, 1.7, 1.0)
  assert needed == 5  # the table of every textbook: 1.7 sd for five pairs
  assert seeds_needed(1.0, 1.7, tests=3) > needed
  assert seeds_needed(math.nan, 1.0) is None
  assert seeds_needed(1e6, 1.0) is None


def simulate(rng, labs: int, seeds: int, effects) -> np.ndarray:
  """For each simulated lab and arm, whether it is told from the baseline: arms with noise of sd 1 and a shared seed."""
  shape = (labs, seeds)
  shared, baseline = rng.normal(0, 2, shape), rng.normal(0, 1, shape)
  found = []
  for lab in range(labs):
    arms = {str(k): shared[lab] + rng.normal(effect, 1, seeds) for k, effect in enumerate(effects)}
    means = {name: t_interval(values - shared[lab] - baseline[lab]) for name, values in arms.items()}
    adjusted = holm({name: mean.p for name, mean in means.items()})
    found.append([verdict(means[name], adjusted[name], 0.0) in ("lower", "higher") for name in means])
  return np.array(found)


def test_false_verdicts_are_as_rare_as_they_should_be_and_effects_are_found():
  rng = np.random.default_rng(0)
  false = simulate(rng, 2000, 5, (0, 0, 0)).any(axis=1).mean()
  assert 0.03 <= false <= 0.07
  two_sd = 2 * math.sqrt(2)  # of the difference between two runs
  assert simulate(rng, 300, 5, (two_sd,)).mean() >= 0.8
  assert simulate(rng, 300, 6, (two_sd, 0, 0))[:, 0].mean() >= 0.8  # Holm's price for three tests: a sixth seed
