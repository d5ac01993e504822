import pickle

import numpy as np
import pytest

from albert_jax.data.finetuning.encode import encode_sequences
from albert_jax.data.finetuning.rows import LabelledRows, RowSettings
from albert_jax.errors import InputError

CLS, SEP = 2, 3
LENGTHS = np.random.default_rng(0).integers(0, 30, 53)


def make_rows(tokenizer, *, shuffle=True, rows=53, choices=None, paired=False, **settings):
  """Example i has the label i."""
  texts = [" ".join(f"w{(i + j) % 300}" for j in range(n)) for i, n in enumerate(LENGTHS[: rows * (choices or 1)])]
  sequences = encode_sequences(tokenizer, texts, texts[::-1] if paired else None)
  fields = {"labels": np.arange(len(sequences) // (choices or 1), dtype=np.int32)}
  settings = RowSettings(max_length=64, **settings)
  return LabelledRows(sequences, fields, tokenizer, settings, shuffle=shuffle, choices=choices)


def labels(batch):
  return batch["labels"][batch["weights"] > 0].tolist()


def test_a_row_by_hand(word_tokenizer):
  sequences = encode_sequences(word_tokenizer, ["w0 w1", "", "w2"], ["w2", "w3 w4", "w0"])
  fields = {"labels": np.array([0.5, 1.5, 2.5], np.float32)}
  rows = LabelledRows(sequences, fields, word_tokenizer, RowSettings(16), shuffle=False)
  batch = rows.batch(0, 2)
  np.testing.assert_array_equal(batch["tokens"], [[CLS, 5, 6, SEP, 7, SEP, 0, 0], [CLS, SEP, 8, 9, SEP, 0, 0, 0]])
  np.testing.assert_array_equal(batch["token_type_ids"], [[0, 0, 0, 0, 1, 1, 0, 0], [0, 0, 1, 1, 1, 0, 0, 0]])
  np.testing.assert_array_equal(batch["example_ids"], [[1, 1, 1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 0, 0, 0]])
  np.testing.assert_array_equal(batch["positions"], [[0, 1, 2, 3, 4, 5, 0, 0], [0, 1, 2, 3, 4, 0, 0, 0]])
  np.testing.assert_array_equal(batch["labels"], np.array([0.5, 1.5], np.float32))
  last = rows.batch(1, 2)
  assert last["weights"].tolist() == [1, 0]
  assert {name: array[1].any() for name, array in last.items()} == dict.fromkeys(last, False)
  assert {str(array.dtype) for name, array in batch.items() if array.ndim == 2} == {"int32"}


def test_single_texts_have_one_separator(word_tokenizer):
  sequences = encode_sequences(word_tokenizer, ["w0 w1", ""], None)
  batch = LabelledRows(sequences, {}, word_tokenizer, RowSettings(16, length_multiple=1), shuffle=False).batch(0, 2)
  assert list(batch) == ["tokens", "token_type_ids", "example_ids", "positions", "weights"]
  np.testing.assert_array_equal(batch["tokens"], [[CLS, 5, 6, SEP], [CLS, SEP, 0, 0]])
  assert not batch["token_type_ids"].any()


def test_texts_may_all_be_empty(word_tokenizer):
  rows = LabelledRows(encode_sequences(word_tokenizer, [""], None), {}, word_tokenizer, RowSettings(8), shuffle=False)
  np.testing.assert_array_equal(rows.batch(0, 1)["tokens"], [[CLS, SEP, 0, 0, 0, 0, 0, 0]])


@pytest.mark.parametrize("pool", [0, 1, 3, 100])
@pytest.mark.parametrize("size", [1, 8, 52, 53, 64])
def test_an_epoch_has_every_example_once(word_tokenizer, pool, size):
  rows = make_rows(word_tokenizer, length_pool=pool)
  batches = -(-53 // size)
  orders = []
  for epoch in range(3):
    found = [labels(rows.batch(epoch * batches + i, size)) for i in range(batches)]
    assert {len(batch) for batch in found} <= {53 // batches, -(-53 // batches)}  # spread evenly
    orders.append([label for batch in found for label in batch])
    assert sorted(orders[-1]) == list(range(53))
  assert orders[0] != orders[1] != orders[2]


@pytest.mark.parametrize("settings", [{}, {"length_pool": 2}, {"shuffle": False}, {"choices": 2, "rows": 26}])
def test_parts_make_up_the_whole_batch_and_nothing_is_remembered(word_tokenizer, settings):
  rows = make_rows(word_tokenizer, paired=True, **settings)
  again = pickle.loads(pickle.dumps(rows))
  for number in (7, 0, 3):
    whole = rows.batch(number, 8)
    parts = [again.batch(number, 8, first, last) for first, last in ((0, 3), (3, 4), (4, 8))]
    for name, array in whole.items():
      np.testing.assert_array_equal(np.concatenate([part[name] for part in parts]), array)


def test_rows_to_evaluate_are_in_order_and_end(word_tokenizer):
  rows = make_rows(word_tokenizer, shuffle=False)
  assert [label for i in range(7) for label in labels(rows.batch(i, 8))] == list(range(53))
  assert rows.batch(6, 8)["weights"].tolist() == [1, 1, 1, 1, 1, 0, 0, 0]
  assert not rows.batch(7, 8)["example_ids"].any()


def test_the_order_follows_the_seed(word_tokenizer):
  first, same, other = (labels(make_rows(word_tokenizer, seed=seed).batch(0, 16)) for seed in (1, 1, 2))
  assert first == same
  assert first != other


def test_length_is_the_least_multiple_that_holds_the_longest(word_tokenizer):
  rows = make_rows(word_tokenizer, shuffle=False, length_multiple=5)
  for number in range(7):
    batch = rows.batch(number, 8)
    longest = batch["example_ids"].sum(axis=1).max()
    assert batch["tokens"].shape[1] == -(-longest // 5) * 5
    assert rows.batch(number, 8, 0, 1)["tokens"].shape[1] == batch["tokens"].shape[1]
  sequences = encode_sequences(word_tokenizer, ["w0 " * 8], None)
  settings = RowSettings(max_length=10, length_multiple=8)
  assert LabelledRows(sequences, {}, word_tokenizer, settings, shuffle=False).batch(0, 1)["tokens"].shape == (1, 10)


def test_pools_gather_equal_lengths_in_batches_of_random_order(word_tokenizer):
  pooled, mixed = (make_rows(word_tokenizer, length_multiple=1, length_pool=pool) for pool in (100, 0))
  lengths = [pooled.batch(i, 8)["tokens"].shape[1] for i in range(7)]
  assert sum(lengths) < sum(mixed.batch(i, 8)["tokens"].shape[1] for i in range(7))
  assert lengths != sorted(lengths)


def test_pools_of_one_batch_are_the_batches_of_no_pools(word_tokenizer):
  one, none = (make_rows(word_tokenizer, rows=48, length_pool=pool) for pool in (1, 0))
  batches = [[sorted(labels(rows.batch(i, 8))) for i in range(6)] for rows in (one, none)]
  assert sorted(batches[0]) == sorted(batches[1])
  assert batches[0] != batches[1]


def test_choices_share_a_row(word_tokenizer):
  rows = make_rows(word_tokenizer, shuffle=False, rows=17, choices=3)
  flat = make_rows(word_tokenizer, shuffle=False, rows=51)
  batch = rows.batch(2, 4)
  assert rows.num_rows == 17
  assert batch["tokens"].shape[:2] == (4, 3)
  assert batch["labels"].tolist() == [8, 9, 10, 11]
  expected = flat.batch(2, 12)["tokens"].reshape(4, 3, -1)
  np.testing.assert_array_equal(batch["tokens"], expected)


def test_mistakes_are_named(word_tokenizer):
  for name in ("max_length", "length_multiple", "length_pool"):
    with pytest.raises(InputError, match=f"data.{name} must be at least"):
      RowSettings(**{"max_length": 64, name: -1})
  with pytest.raises(InputError, match="no examples"):
    LabelledRows(encode_sequences(word_tokenizer, [], None), {}, word_tokenizer, RowSettings(8), shuffle=False)


def test_the_fingerprint_has_the_labels(word_tokenizer):
  rows, fewer = make_rows(word_tokenizer), make_rows(word_tokenizer, rows=52)
  sequences = encode_sequences(word_tokenizer, ["w0"], None)
  one, two = (
    LabelledRows(sequences, {"labels": np.array([i])}, word_tokenizer, RowSettings(8), shuffle=True) for i in range(2)
  )
  assert rows.fingerprint == make_rows(word_tokenizer).fingerprint != fewer.fingerprint
  assert one.fingerprint != two.fingerprint
