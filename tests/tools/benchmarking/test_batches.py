import numpy as np
import pytest

from albert_jax.data.pretraining.rows import PretrainingRows
from albert_jax.data.pretraining.spec import BatchSettings
from albert_jax.data.pretraining.synthetic import make_synthetic_vocabulary
from albert_jax.errors import InputError
from albert_jax.tools.benchmarking import batches, files

VOCAB = 200


def make_rows(lengths: str, **settings) -> PretrainingRows:
  settings = BatchSettings(max_length=64, **settings)
  examples = batches.make_examples(settings, VOCAB, full=lengths == "full", seed=0)
  return PretrainingRows(examples, make_synthetic_vocabulary(VOCAB), settings, shuffle=True)


@pytest.mark.parametrize("pair_objective", ["sop", "none"])
def test_full_rows_have_no_padding(pair_objective):
  (batch,) = batches.make_batches(make_rows("full", pair_objective=pair_objective), 1, 64)
  assert (batch["example_ids"] == 1).all()
  assert len(np.unique(batch["tokens"])) > 100  # random, not zeros


def test_realistic_rows_are_half_full_on_average():
  (batch,) = batches.make_batches(make_rows("realistic"), 1, 2048)
  lengths_B = (batch["example_ids"] > 0).sum(axis=1)
  assert 0.48 * 64 < lengths_B.mean() < 0.58 * 64
  assert lengths_B.min() <= 7
  assert lengths_B.max() == 64


class TestPackedRowsTakenApart:
  @pytest.fixture
  def packed(self):
    return batches.make_batches(make_rows("realistic", packing=4), 3, 16)

  def test_examples_stay_what_they_are(self, packed):
    settings = BatchSettings(max_length=64, packing=4)
    apart = batches.one_example_a_row(packed[0], settings.example_predictions)
    seen = 0
    for row in range(16):
      for number in range(1, packed[0]["example_ids"][row].max() + 1):
        own = packed[0]["example_ids"][row] == number
        length = own.sum()
        for name in ("tokens", "token_type_ids"):
          np.testing.assert_array_equal(apart[name][seen, :length], packed[0][name][row, own])
        assert apart["mask"][seen].tolist() == [1] * length + [0] * (64 - length)
        assert self._predictions(packed[0], row, np.flatnonzero(own)[0], length) == self._predictions(
          apart, seen, 0, 64
        )
        assert apart["pair_labels"][seen] == packed[0]["pair_labels"][row, number - 1]
        assert apart["pair_weights"][seen] == packed[0]["pair_weights"][row, number - 1]
        seen += 1
    assert seen == len(apart["tokens"])

  def _predictions(self, batch, row, first, length):
    """(position in the example, label) of those inside it."""
    positions_M = batch["mlm_positions"][row] - first
    inside_M = (batch["mlm_weights"][row] > 0) & (positions_M >= 0) & (positions_M < length)
    return list(zip(positions_M[inside_M], batch["mlm_labels"][row][inside_M]))

  def test_peers_get_the_same_tokens_in_batches_of_one_size(self, packed):
    theirs, first = batches.for_peers(packed, 10)
    assert len({len(batch["tokens"]) for batch in theirs}) == 1
    assert len(theirs) in (2, 3)
    size = len(theirs[0]["tokens"])
    total = sum(map(files.tokens_of, packed))
    assert total - size * 64 < sum(map(files.tokens_of, theirs)) <= total
    assert files.tokens_of(first) == files.tokens_of(packed[0])

  def test_a_file_gives_back_what_went_in(self, packed, tmp_path):
    files.save_batches(tmp_path / "batches.npz", packed)
    for saved, made in zip(files.load_batches(tmp_path / "batches.npz"), packed, strict=True):
      for name, array in made.items():
        np.testing.assert_array_equal(saved[name], array)


def test_timed_tokens_are_those_after_warm_up():
  made = [{"mask": np.ones(n)} for n in (1, 10, 100)]
  assert files.timed_tokens(made, warmup=2, steps=2) == 101


def test_lengths_that_change_are_refused():
  class Rows:
    def batch(self, number, size, first, last):
      return {"tokens": np.zeros((size, 8 + number))}

  with pytest.raises(InputError, match="length_multiple"):
    batches.make_batches(Rows(), 2, 4)
