import numpy as np
import pytest
from scipy import stats

from tests.data.pretraining.traced import RARE, Traced


def slow_lengths(a, b, room):
  while a + b > room:
    a, b = (a - 1, b) if a > b else (a, b - 1)
  return a, b


@pytest.mark.parametrize("lengths", [[40, 12], [12, 40], [30, 30], [31, 30], [90, 50]])
def test_truncation_shortens_the_longer_segment(lengths):
  traced = Traced([lengths])
  for _, a, b, label, _ in traced.make(50, max_length=48):
    first, second = reversed(lengths) if label else lengths
    assert (len(a), len(b)) == slow_lengths(first, second, 45)
    for segment in (a, b):
      assert segment == list(range(segment[0], segment[0] + len(segment)))
      assert len({traced.sentence_of[t] for t in segment}) == 1


def test_truncation_takes_from_front_and_back_with_equal_chance():
  fronts = {22: [], 7: []}  # tokens that go from 40 and from 25, to leave 36
  for _, a, b, label, _ in Traced([[40, 25]]).make(6000, max_length=39):
    long, short = (b, a) if label else (a, b)
    assert (len(long), len(short)) == (18, 18)
    fronts[22].append(long[0] - 5)
    fronts[7].append(short[0] - 45)
  for cut, front in fronts.items():
    law = stats.binom.pmf(np.arange(cut + 1), cut, 0.5)
    counts = np.bincount(front, minlength=cut + 1)
    often = law > 1e-3
    expected = law[often] / law[often].sum() * counts[often].sum()
    assert stats.chisquare(counts[often], expected).pvalue > RARE
  assert stats.pearsonr(*fronts.values()).pvalue > RARE


def test_truncation_of_one_segment():
  traced = Traced([[50]])
  for _, a, b, _, _ in traced.make(20, max_length=20, pair_objective="none"):
    assert len(a) == 18
    assert b is None
