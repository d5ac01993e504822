import hashlib
import itertools

import numpy as np
import pytest

from albert_jax.data.examples.chunks import ExampleSettings, document_chunks, find_cuts, stable_hash
from albert_jax.data.examples.prepare import ALGORITHM
from albert_jax.errors import InputError


def test_chunks_end_with_the_sentence_that_fills_the_row_and_cut_only_what_is_too_long():
  settings = ExampleSettings(max_length=13, short_seq_prob=0)  # room for 10
  chunks = document_chunks([3, 4, 5, 25, 1, 4, 6], "doc", settings)
  assert chunks == [[3, 4, 5], [10], [10], [5, 1, 4], [6]]


@pytest.mark.parametrize("short", [0.0, 0.1, 1.0])
def test_no_token_is_lost_no_chunk_is_empty_and_sentences_stay_whole(short):
  rng = np.random.default_rng(0)
  settings = ExampleSettings(max_length=20, short_seq_prob=short)
  for number in range(200):
    lengths = rng.integers(0, 40, rng.integers(0, 30)).tolist()
    chunks = document_chunks(lengths, f"doc {number}", settings)
    pieces = list(itertools.chain.from_iterable(chunks))
    assert sum(pieces) == sum(lengths)
    assert set(np.cumsum(lengths)) - {0} <= set(np.cumsum(pieces))  # no piece spans two sentences
    assert all(chunk and 0 < min(chunk) <= max(chunk) <= 17 for chunk in chunks)
    assert all(sum(chunk[:-1]) < 17 for chunk in chunks)  # the row's end lies in the last sentence, or after it
    if not short:
      assert all(sum(chunk) >= 17 for chunk in chunks[:-1])


def test_short_targets_are_uniform_and_as_frequent_as_asked():
  settings = ExampleSettings(max_length=12, short_seq_prob=0.4)  # room for 9, so targets 2…9
  chunks = document_chunks([1] * 100_000, "doc", settings)[:-1]
  share = np.bincount([len(chunk) for chunk in chunks], minlength=10) / len(chunks)
  np.testing.assert_allclose(share[2:9], 0.4 / 8, atol=0.005)
  np.testing.assert_allclose(share[9], 0.6 + 0.4 / 8, atol=0.01)
  assert share[:2].sum() == 0


def test_changed_chunks_need_a_new_algorithm_number():
  lengths = np.random.default_rng(0).integers(0, 90, 2000).tolist()
  chunks = [document_chunks(lengths, "doc", ExampleSettings(max_length=n, short_seq_prob=0.3)) for n in (20, 64, 512)]
  expected = (2, "e38dc3f9e87b7963")
  assert (ALGORITHM, hashlib.sha256(repr(chunks).encode()).hexdigest()[:16]) == expected, (
    "The same documents give other chunks: sets that are already prepared must not be used. If that is meant, raise"
    " examples.ALGORITHM, and note number and digest here."
  )


def test_chunks_depend_on_the_document_and_the_seed_only():
  def chunks(key, seed):
    return document_chunks([1] * 300, key, ExampleSettings(max_length=64, short_seq_prob=1.0, seed=seed))

  assert chunks("a", 0) == chunks("a", 0)
  assert chunks("a", 0) != chunks("b", 0)
  assert chunks("a", 0) != chunks("a", 1)


def test_hashes_are_the_same_in_every_process_and_version():
  assert stable_hash("split", 0, "a key") == 8274478805474261051
  assert stable_hash("é\udc80") == 2153106935569139508
  assert stable_hash("a", "b") != stable_hash("ab")


@pytest.mark.parametrize(
  ("key", "value"),
  [
    ("max_length", 7),
    ("short_seq_prob", -0.1),
    ("short_seq_prob", 1.1),
    ("valid_fraction", 0.0),
    ("valid_fraction", 1.0),
    ("layout", "lines"),
  ],
)
def test_bad_settings_are_named(key, value):
  with pytest.raises(InputError, match=f"{key} is {value!r}"):
    ExampleSettings(**{key: value})


def test_cut_sentences_are_found_in_what_is_left_of_them():
  lengths = [40, 3, 5, 29, 4, 20, 12]  # 40 is cut at 29; a sentence of exactly 29 passes for cut
  settings = ExampleSettings(max_length=32, short_seq_prob=0)
  chunks = document_chunks(lengths, "key", settings)
  assert chunks == [[29], [11, 3, 5, 29], [4, 20, 12]]
  last = np.array([chunk[-1] for chunk in [*chunks, *chunks]])
  documents = np.array([7, 7, 7, 8, 8, 8], np.uint64)
  assert find_cuts(last, documents, 29).tolist() == [True] * 6
  assert find_cuts(np.array([29, 5, 6, 29, 4]), np.array([1, 1, 1, 1, 2], np.uint64), 29).tolist() == [
    True,
    True,
    False,
    True,
    False,
  ]
  assert find_cuts(np.array([5]), np.array([1], np.uint64), 29, (True, 1)).tolist() == [True]
  assert find_cuts(np.array([5]), np.array([1], np.uint64), 29, (True, 2)).tolist() == [False]
