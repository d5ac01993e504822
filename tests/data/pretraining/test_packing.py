import itertools

import numpy as np
import pytest

from albert_jax.data.pretraining.packing import RowPlan, plan_packs

ROW = 64


def odd_lengths():
  rng = np.random.default_rng(0)
  return {
    "all full": np.full(7, ROW),
    "all of length 3": np.full(50, 3),
    "one example": np.array([5]),
    "just over half": np.full(9, ROW // 2 + 1),
    "exactly half": np.full(9, ROW // 2),
    "two kinds": np.array([ROW - 3] * 5 + [3] * 40),
    "uniform": rng.integers(3, ROW + 1, 1000),
    "skewed": np.clip(rng.lognormal(2, 1, 1000).astype(int), 3, ROW),
  }


ODD = odd_lengths()


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("max_examples", [1, 2, 3, 8])
def test_packs_use_every_length_once_and_fit(name, max_examples):
  lengths = ODD[name]
  packs = plan_packs(np.bincount(lengths, minlength=ROW + 1), max_examples)
  used = np.zeros(ROW + 1, int)
  for pack, rows in packs.items():
    assert 1 <= len(pack) <= max_examples
    assert sum(pack) <= ROW
    assert rows > 0
    for length in pack:
      used[length] += rows
  np.testing.assert_array_equal(used, np.bincount(lengths, minlength=ROW + 1))


@pytest.mark.parametrize(
  ("lengths", "max_examples", "rows"),
  [
    ([40, 30, 34, 24], 2, 2),  # 40 + 24, 34 + 30
    ([32] * 5, 2, 3),
    ([16] * 8, 3, 3),  # the depth is the limit
    ([50, 50, 14, 10, 4], 3, 2),  # 50 + 14, 50 + 10 + 4
  ],
)
def test_packs_are_tight(lengths, max_examples, rows):
  packs = plan_packs(np.bincount(lengths, minlength=ROW + 1), max_examples)
  assert sum(packs.values()) == rows


@pytest.mark.parametrize(
  ("median", "sigma", "max_examples", "least"),
  [
    (214, 0.6, 4, 0.985),
    (214, 0.6, 8, 0.99),
    (155, 1.0, 3, 0.97),  # best fit alone: 0.85
    (155, 1.0, 8, 0.99),  # best fit alone: 0.986, pairing extremes alone: 0.978
    (155, 1.0, 16, 0.99),  # pairing extremes alone: 0.97
    (107, 0.6, 4, 0.97),  # best fit alone: 0.83
    (78, 1.0, 8, 0.98),  # a mean of 0.23 rows; best fit alone: 0.92, pairing extremes alone: 0.974
  ],
)
def test_rows_are_nearly_full_on_realistic_lengths(median, sigma, max_examples, least):
  rng = np.random.default_rng(0)
  lengths = np.clip(rng.lognormal(np.log(median), sigma, 20_000).astype(int), 8, 512)
  packs = plan_packs(np.bincount(lengths, minlength=513), max_examples)
  assert lengths.sum() / (512 * sum(packs.values())) > least


def plan(name, max_examples, shuffle=True, seed=0):
  return RowPlan(ODD[name], ROW, max_examples, seed=seed, shuffle=shuffle)


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("max_examples", [1, 2, 8])
@pytest.mark.parametrize("shuffle", [True, False])
def test_each_example_is_in_one_row_of_each_epoch(name, max_examples, shuffle):
  rows = plan(name, max_examples, shuffle)
  for epoch in range(3 if shuffle else 1):
    index_RN = rows.find_examples(epoch * rows.num_rows, (epoch + 1) * rows.num_rows)[0]
    assert index_RN.shape == (rows.num_rows, max_examples)
    used = index_RN >= 0
    np.testing.assert_array_equal(np.sort(index_RN[used]), np.arange(len(ODD[name])))
    lengths_RN = np.where(used, ODD[name][index_RN], 0)
    assert lengths_RN.sum(axis=1).max() <= ROW
    assert (used[:, :-1] | ~used[:, 1:]).all()  # no gap before an example
    assert used.any(axis=1).all()


@pytest.mark.parametrize("max_examples", [1, 4])
def test_epochs_and_seeds_order_and_pack_anew(max_examples):
  rows = plan("uniform", max_examples)
  n = rows.num_rows
  epochs = [rows.find_examples(e * n, (e + 1) * n)[0] for e in range(2)]
  epochs.append(plan("uniform", max_examples, seed=1).find_examples(0, n)[0])
  for a, b in ((0, 1), (0, 2)):
    assert (epochs[a][:, 0] == epochs[b][:, 0]).mean() < 0.02
    if max_examples > 1:
      pairs = [{frozenset(r) for r in epochs[e].tolist() if r[1] >= 0} for e in (a, b)]
      assert len(pairs[0] & pairs[1]) < 0.1 * len(pairs[0])


@pytest.mark.parametrize("max_examples", [1, 4])
@pytest.mark.parametrize("shuffle", [True, False])
def test_any_slice_is_the_same(max_examples, shuffle):
  rows = plan("skewed", max_examples, shuffle)
  n = rows.num_rows
  whole = rows.find_examples(0, 2 * n + 5)[0]
  cuts = [0, 1, n - 2, n + 3, 2 * n + 5]
  parts = [rows.find_examples(a, b)[0] for a, b in itertools.pairwise(cuts)]
  np.testing.assert_array_equal(whole, np.concatenate(parts))
  assert rows.find_examples(3, 3)[0].shape == (0, max_examples)


@pytest.mark.parametrize("max_examples", [1, 4])
def test_rows_after_an_unshuffled_epoch_are_empty(max_examples):
  rows = plan("uniform", max_examples, shuffle=False)
  after = rows.find_examples(rows.num_rows, rows.num_rows + 10)[0]
  assert (after == -1).all()


def test_unshuffled_rows_of_one_example_keep_their_order():
  index_RN = plan("uniform", 1, shuffle=False).find_examples(10, 20)[0]
  np.testing.assert_array_equal(index_RN[:, 0], np.arange(10, 20))


def test_first_rows_of_a_packed_evaluation_are_a_fair_sample():
  rows = plan("uniform", 2, shuffle=False)
  lengths = ODD["uniform"][rows.find_examples(0, rows.num_rows)[0][:, 0]]
  half = len(lengths) // 2
  assert abs(lengths[:half].mean() - lengths[half:].mean()) < 4 * lengths.std() * (2 / half) ** 0.5
