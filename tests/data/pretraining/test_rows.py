import hashlib
import itertools
import pickle

import numpy as np
import pytest

from albert_jax.data.pretraining import rows as rows_module
from albert_jax.data.pretraining.rows import ROWS_ALGORITHM, PretrainingRows
from albert_jax.data.pretraining.spec import BatchSettings, Vocabulary
from albert_jax.data.pretraining.synthetic import MemoryExamples
from albert_jax.errors import InputError

PAD, UNK, CLS, SEP, MASK = 9, 1, 2, 3, 4  # padding that is not 0 shows where zeros are confused with it
SIZE = 500
T = 32


def make_vocabulary(**changes):
  ids = {"size": SIZE, "pad_id": PAD, "cls_id": CLS, "sep_id": SEP, "mask_id": MASK}
  ids |= {"special_ids": (PAD, UNK, CLS, SEP, MASK), "word_starts": np.arange(SIZE) % 3 > 0}
  return Vocabulary(**(ids | changes))


def make_examples(count=101, seed=0):
  rng = np.random.default_rng(seed)
  chunks = []
  for _ in range(count):
    target, sentences = rng.integers(1, T - 2), []
    while target:
      n = min(target, int(rng.integers(1, 9)))
      sentences.append(rng.integers(10, SIZE, n).tolist())
      target -= n
    chunks.append(sentences)
  return MemoryExamples(chunks, (np.arange(count) // 4).tolist(), max_length=T)


def make_rows(shuffle=True, examples=None, **settings):
  settings = BatchSettings(**({"max_length": T, "cut_pairs": True} | settings))
  return PretrainingRows(
    make_examples() if examples is None else examples, make_vocabulary(), settings, shuffle=shuffle
  )


def assert_equal(a, b):
  assert a.keys() == b.keys()
  for key in a:
    assert a[key].dtype == b[key].dtype
    np.testing.assert_array_equal(a[key], b[key], err_msg=key)


def rows_of(rows, start, stop):
  """Rows start … stop - 1, as a part of batch 0."""
  return rows.batch(0, stop, start, stop)


VARIANTS = [
  {},
  {"packing": 4},
  {"pair_objective": "nsp", "packing": 3, "single_sentence_random_pair": True},
  {"pair_objective": "none", "mask_rate": 0.4, "max_ngram": 5, "max_predictions": 6},
  {"pair_objective": "nsp", "whole_word": False, "max_length": 20},  # examples are truncated
  {"pair_objective": "nsp", "packing": 2, "max_length": 20},  # examples are truncated to share rows
  {"packing": 5, "max_length": 3 * T, "ngrams_straddle_segments": True, "random_specials": True},
]


@pytest.mark.parametrize("settings", VARIANTS)
@pytest.mark.parametrize("shuffle", [True, False])
def test_any_slices_make_the_same_rows(settings, shuffle):
  rows = make_rows(shuffle, **settings)
  n = rows.num_rows
  whole = rows_of(rows, 0, 2 * n + 7)
  cuts = [0, 1, 1, n // 2, n + 3, 2 * n + 7]
  parts = [rows_of(rows, a, b) for a, b in itertools.pairwise(cuts)]
  assert_equal(whole, {k: np.concatenate([p[k] for p in parts]) for k in whole})


def test_blocks_do_not_show(monkeypatch):
  whole = rows_of(make_rows(packing=3), 5, 60)
  monkeypatch.setattr("albert_jax.data.pretraining.rows._BLOCK_TOKENS", 7 * T)
  assert_equal(whole, rows_of(make_rows(packing=3), 5, 60))


@pytest.mark.parametrize("settings", VARIANTS)
def test_batch_contract(settings):
  rows = make_rows(**settings)
  batch = rows_of(rows, 3, 3 + 2 * rows.num_rows)
  count = len(batch["tokens"])
  slots = rows.settings.packing
  for key, (shape, dtype) in rows.settings.shapes(count).items():
    assert batch[key].shape == shape
    assert batch[key].dtype == dtype
  examples = batch["example_ids"]
  assert examples.max() <= slots
  for key, filler in (("tokens", PAD), ("token_type_ids", 0), ("positions", 0)):
    assert (batch[key][examples == 0] == filler).all()
  assert not (batch["tokens"][examples > 0] == PAD).any() or settings.get("random_specials")
  assert (np.diff((examples > 0).astype(int), axis=1) <= 0).all()  # padding comes last
  for r in range(count):
    number = examples[r].max()
    for n in range(1, number + 1):
      at = np.flatnonzero(examples[r] == n)
      np.testing.assert_array_equal(at, np.arange(at[0], at[0] + len(at)))
      np.testing.assert_array_equal(batch["positions"][r, at], np.arange(len(at)))
      assert batch["cls_positions"][r, n - 1] == at[0]
      assert batch["tokens"][r, at[0]] == CLS
      assert batch["token_type_ids"][r, at[0]] == 0
    for key in ("cls_positions", "pair_labels", "pair_weights"):
      assert not batch[key][r, number:].any()
    assert set(batch["pair_weights"][r]) <= {0, 1}
  if settings.get("pair_objective") == "none":
    assert not batch["pair_weights"].any()
    assert not batch["token_type_ids"].any()


@pytest.mark.parametrize("settings", VARIANTS)
def test_predictions_are_sorted_ordinary_tokens_with_true_labels(settings):
  rows = make_rows(mask_prob=0.0, random_prob=0.0, **settings)  # every token stays as it is
  batch = rows_of(rows, 0, rows.num_rows)
  for r in range(rows.num_rows):
    used = batch["mlm_weights"][r] > 0
    number = int(used.sum())
    assert used[:number].all()
    positions = batch["mlm_positions"][r, :number]
    assert (np.diff(positions) > 0).all()
    labels = batch["tokens"][r, positions]
    np.testing.assert_array_equal(batch["mlm_labels"][r, :number], labels)
    assert not np.isin(labels, (PAD, UNK, CLS, SEP, MASK)).any()
    assert not batch["mlm_positions"][r, number:].any()
    assert not batch["mlm_labels"][r, number:].any()
  assert batch["mlm_weights"].sum() > 0


def test_only_predicted_tokens_change():
  plain = rows_of(make_rows(mask_prob=0.0, random_prob=0.0, packing=3), 0, 40)
  masked = rows_of(make_rows(mask_prob=1.0, random_prob=0.0, packing=3), 0, 40)
  r, m = np.nonzero(masked["mlm_weights"])
  restored = masked["tokens"].copy()
  assert (restored[r, masked["mlm_positions"][r, m]] == MASK).all()
  restored[r, masked["mlm_positions"][r, m]] = masked["mlm_labels"][r, m]
  assert_equal(plain, masked | {"tokens": restored})


def content(batch, r):
  """The row's example with its masks undone, without its special tokens."""
  tokens = batch["tokens"][r].copy()
  used = batch["mlm_weights"][r] > 0
  tokens[batch["mlm_positions"][r, used]] = batch["mlm_labels"][r, used]
  return tuple(tokens[~np.isin(tokens, (PAD, CLS, SEP))].tolist())


def test_epochs_hold_every_example_with_fresh_masks():
  rows = make_rows(pair_objective="none")
  examples = make_examples()
  texts = sorted(tuple(examples.get(np.array([i])).tokens.tolist()) for i in range(len(examples)))
  n = rows.num_rows
  first, second = rows_of(rows, 0, n), rows_of(rows, n, 2 * n)
  masks = []
  for epoch in (first, second):
    found = {content(epoch, r): epoch["mlm_positions"][r].tolist() for r in range(n)}
    assert sorted(found) == texts
    masks.append(found)
  long = [t for t in texts if len(t) > 15]
  assert sum(masks[0][t] == masks[1][t] for t in long) < 0.1 * len(long)


@pytest.mark.parametrize("packing", [1, 3])
def test_evaluation_is_fixed_and_ends_with_empty_rows(packing):
  rows = make_rows(shuffle=False, packing=packing)
  n = rows.num_rows
  assert_equal(rows_of(rows, 0, n), rows_of(make_rows(shuffle=False, packing=packing), 0, n))
  after = rows_of(rows, n, n + 5)
  assert (after.pop("tokens") == PAD).all()
  assert not any(v.any() for v in after.values())
  if packing == 1:
    examples = make_examples()
    row = rows_of(rows, 7, 8)
    assert sorted(content(row, 0)) == sorted(examples.get(np.array([7])).tokens.tolist())


def test_empty_rows_read_nothing(monkeypatch):
  rows = make_rows(shuffle=False)
  monkeypatch.delattr(MemoryExamples, "get")
  assert not rows_of(rows, rows.num_rows, rows.num_rows + 3)["example_ids"].any()


@pytest.fixture
def no_single_tokens(monkeypatch):
  """Leaves rows without a prediction where no whole word fits, as versions before 2026-11-27 did."""
  monkeypatch.setattr(rows_module, "_add_single_tokens", lambda chosen, *rest: chosen)


def test_changed_rows_need_a_new_algorithm_number(no_single_tokens):
  made = hashlib.sha256()
  for settings in VARIANTS:
    for shuffle in (True, False):
      batch = rows_of(make_rows(shuffle, **settings), 0, 150)
      for field in sorted(array.tobytes() for array in batch.values()):  # whatever the fields are called
        made.update(field)
  expected = (2, "e01ca0903aae13a0")
  assert (ROWS_ALGORITHM, made.hexdigest()[:16]) == expected, (
    "The same examples and settings give other rows: a run cannot go on with them. If that is meant, raise"
    " ROWS_ALGORITHM, so that resuming an old run is refused, and note number and digest here."
  )


@pytest.mark.parametrize("settings", VARIANTS)
def test_single_tokens_are_predicted_only_in_rows_where_no_word_fits(settings, request):
  after = rows_of(make_rows(**settings), 0, 300)
  request.getfixturevalue("no_single_tokens")
  before = rows_of(make_rows(**settings), 0, 300)
  had = before["mlm_weights"].any(axis=1)
  assert_equal(*({name: field[had] for name, field in batch.items()} for batch in (before, after)))
  assert after["mlm_weights"].any(axis=1).all()


def test_text_without_spaces_has_predictions():
  """Such as DNA: every example is one word, longer than its budget."""
  examples = MemoryExamples([[[10 + i % 4 for i in range(n)]] for n in (5, 25, 29)], max_length=T)
  vocabulary = make_vocabulary(word_starts=np.zeros(SIZE, bool))
  rows = PretrainingRows(examples, vocabulary, BatchSettings(max_length=T), shuffle=False)
  assert rows.batch(0, 3, 0, 3)["mlm_weights"].sum(axis=1).tolist() == [1, 4, 5]  # round(0.15 × (n + 2))


CHUNK_OF = {10: 10, 11: 10, 12: 12, 13: 12, 14: 12, 15: 15, 16: 15, 17: 17, 18: 17}  # first token of the chunk


def cut_examples():
  """A document whose second sentence was cut: the first two chunks hold a part of it. And an unrelated one."""
  full = T - 3
  chunks = [[[10] * 5, [11] * full], [[12] * 7, [13] * 5, [14] * 4], [[15] * 5, [16] * 6], [[17] * 9, [18] * 3]]
  return MemoryExamples(chunks, [0, 0, 0, 1], max_length=T)


@pytest.mark.parametrize("packing", [1, 3])
@pytest.mark.parametrize(("objective", "quirk"), [("sop", False), ("nsp", False), ("sop", True)])
def test_examples_that_hold_a_part_of_a_cut_sentence_have_no_pair(packing, objective, quirk):
  settings = dict(examples=cut_examples(), packing=packing, pair_objective=objective)
  settings |= dict(single_sentence_random_pair=quirk, mask_prob=0.0, random_prob=0.0)
  for cut_pairs, expected in ((True, {10, 12, 15, 17}), (False, {15, 17})):
    batch = rows_of(make_rows(cut_pairs=cut_pairs, **settings), 0, 40)
    row, slot = np.nonzero(batch["pair_weights"])
    begin = batch["cls_positions"][row, slot]
    firsts = batch["tokens"][row, begin + 1]  # of A, from which the chunk can be told
    assert {CHUNK_OF[first] for first in firsts.tolist()} == expected
    assert (batch["token_type_ids"].any(axis=1) == batch["pair_weights"].any(axis=1)).all()


def test_seeds_differ():
  a, b = (rows_of(make_rows(seed=seed), 0, 20)["tokens"] for seed in (0, 1))
  assert (a != b).any(axis=1).all()


def test_rows_travel_by_pickle():
  rows = make_rows(packing=2)
  assert_equal(rows_of(rows, 0, 9), rows_of(pickle.loads(pickle.dumps(rows)), 0, 9))


def test_rows_that_examples_cannot_fill():
  with pytest.raises(InputError, match=rf"max_length={T + 1}.*prepared for {T}"):
    make_rows(max_length=T + 1)
  make_rows(max_length=2 * T, packing=2)


def test_no_examples():
  with pytest.raises(InputError, match="no examples"):
    make_rows(examples=make_examples(0))


@pytest.mark.parametrize(("number", "first", "last"), [(0, -1, 2), (0, 3, 2), (0, 0, 5), (-1, 0, 4)])
def test_rows_that_a_batch_does_not_have(number, first, last):
  with pytest.raises(InputError, match=f"batch {number} of 4 rows"):
    make_rows().batch(number, 4, first, last)
