import types

import numpy as np
import pytest

from albert_jax.data.pretraining.baselines import SurfaceRule, WithBaselines
from albert_jax.data.pretraining.rows import PretrainingRows
from albert_jax.data.pretraining.spec import BatchSettings, Vocabulary
from albert_jax.data.pretraining.synthetic import MemoryExamples

T, STOP, SIZE = 32, 5, 60
VOCABULARY = Vocabulary(SIZE, 0, 2, 3, 4, (0, 1, 2, 3, 4), np.ones(SIZE, bool))
TOKENIZER = types.SimpleNamespace(vocab_size=SIZE, pieces=lambda ids: ["." if i == STOP else f"w{i}" for i in ids])


def make_rows(*, cut: bool, count: int = 400, **settings) -> PretrainingRows:
  """Pairs of two sentences that end in a stop; `cut` takes the stop of the second, as a cut does."""
  rng = np.random.default_rng(0)
  chunks = []
  for _ in range(count):
    first, second = ([*rng.integers(10, SIZE, rng.integers(3, 9)).tolist(), STOP] for _ in range(2))
    chunks.append([first, second[:-1] if cut else second])
  settings = BatchSettings(**({"max_length": T, "packing": 2} | settings))
  return PretrainingRows(MemoryExamples(chunks, max_length=T), VOCABULARY, settings, shuffle=True)


def accuracy(rows: PretrainingRows, objective="sop") -> float:
  """Of the rule on rows that it has not counted."""
  rule = SurfaceRule(rows.batch(0, 100, 0, 100), TOKENIZER)
  batch = rows.batch(1, 100, 0, 100)
  return float((rule.is_right(batch) * batch["pair_weights"]).sum() / batch["pair_weights"].sum())


def test_a_cut_tells_the_order():
  assert accuracy(make_rows(cut=True)) == 1
  assert 0.35 < accuracy(make_rows(cut=False)) < 0.65


@pytest.mark.parametrize("packing", [1, 3])
def test_marks_do_not_depend_on_masks_or_on_the_place_in_a_row(packing):
  rows = make_rows(cut=True, packing=packing, mask_rate=0.5, max_ngram=1)
  batch = rows.batch(0, 50, 0, 50)
  assert (batch["tokens"] == 4).any()
  rule = SurfaceRule(batch, TOKENIZER)
  right = rule.is_right(batch)
  assert right.shape == batch["pair_labels"].shape
  assert right[batch["pair_weights"] > 0].all()


def test_evaluation_rows_have_both_baselines():
  rows = make_rows(cut=True)
  counts = np.arange(SIZE)
  rule = SurfaceRule(rows.batch(0, 50, 0, 50), TOKENIZER)
  batch = WithBaselines(rows, counts, rule).batch(2, 8, 4, 8)
  expected = -np.log((batch["mlm_labels"] + 1) / (counts + 1).sum())
  np.testing.assert_allclose(batch["unigram_nll"], expected, rtol=1e-6)
  assert batch["pair_surface_right"].dtype == np.float32
  assert "pair_surface_right" not in WithBaselines(rows, counts, None).batch(2, 8, 4, 8)
