import collections
import math

import numpy as np
import pytest
from scipy import stats

from albert_jax.data import random
from albert_jax.data.random import Stream

# Probability of |z| > 4: what a true null hypothesis exceeds once in 16,000 seeds.
RARE = 6e-5


def draw(rows, words=3, stream=Stream.MASK, start=0, seed=1):
  return random.draw_bits(seed, stream, start, rows, words)


@pytest.mark.parametrize("words", [1, 3, 4, 9])
def test_rows_are_the_same_from_any_start(words):
  whole = draw(20, words)
  assert whole.shape == (20, words)
  np.testing.assert_array_equal(whole[7:12], draw(5, words, start=7))


def test_streams_seeds_and_rows_differ():
  base = draw(4)
  assert len(np.unique(base)) == base.size
  assert not np.isin(draw(4, stream=Stream.PAIR), base).any()
  assert not np.isin(draw(4, seed=2), base).any()


def test_far_rows_and_large_seeds_work():
  assert draw(2, start=10**15, seed=2**64 - 1).shape == (2, 3)


def test_uniform_and_below_are_uniform():
  bits = draw(1000, 20).ravel()
  assert stats.kstest(random.uniform(bits), "uniform").pvalue > RARE
  assert stats.chisquare(np.bincount(random.below(bits, 7), minlength=7)).pvalue > RARE
  assert random.below(np.array([2**64 - 1], np.uint64), 10).item() == 9


def test_count_heads_counts_the_first_bits():
  bits = draw(300, 4)
  tosses = np.arange(300) % 256
  coins = np.array([[int(b) >> i & 1 for b in row for i in range(64)] for row in bits])
  expected = [coins[i, :n].sum() for i, n in enumerate(tosses)]
  np.testing.assert_array_equal(random.count_heads(bits, tosses), expected)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 17, 64, 1000])
def test_permute_is_a_permutation(size):
  for key in range(20):
    place = random.permute(np.arange(size), np.full(size, size), np.full(size, key, np.uint64))
    np.testing.assert_array_equal(np.sort(place), np.arange(size))


@pytest.mark.parametrize("size", [2, 3, 4])
def test_permutations_are_about_equally_likely(size):
  keys = draw(6000, 1, Stream.EPOCH).repeat(size)
  index = np.tile(np.arange(size), 6000)
  places = random.permute(index, np.full(len(index), size), keys).reshape(-1, size)
  counts = collections.Counter(map(tuple, places.tolist()))
  assert len(counts) == math.factorial(size)
  expected = 6000 / len(counts)
  assert max(abs(c / expected - 1) for c in counts.values()) < 0.2


def test_permute_leaves_no_order():
  size = 10_000
  key = np.full(size, 5, np.uint64)
  place = random.permute(np.arange(size), np.full(size, size), key)
  other = random.permute(np.arange(size), np.full(size, size), key + np.uint64(1))
  for a, b in ((place, np.arange(size)), (place, other), (place[1:], place[:-1])):
    assert stats.pearsonr(a, b).pvalue > RARE
  assert (place == other).sum() < 10


def test_permute_takes_sizes_and_keys_element_by_element():
  sizes, keys = np.array([3, 50, 7]), np.array([1, 2, 3], np.uint64)
  together = random.permute(np.array([2, 40, 6]), sizes, keys)
  for i, index in enumerate((2, 40, 6)):
    alone = random.permute(np.array([index]), sizes[i : i + 1], keys[i : i + 1])
    assert alone[0] == together[i] < sizes[i]
