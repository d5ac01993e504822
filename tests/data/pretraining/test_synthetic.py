import numpy as np
import pytest

from albert_jax.data.pretraining.synthetic import MemoryExamples, make_synthetic_examples, make_synthetic_vocabulary
from albert_jax.errors import InputError


def test_get_returns_what_was_given_in_any_order():
  chunks = [[[5, 6], [7]], [[8]], [[9, 10, 11], [12], [13, 14]]]
  batch = MemoryExamples(chunks, documents=[4, 4, 2]).get(np.array([2, 0, 2]))
  np.testing.assert_array_equal(batch.tokens, [9, 10, 11, 12, 13, 14, 5, 6, 7, 9, 10, 11, 12, 13, 14])
  np.testing.assert_array_equal(batch.lengths, [6, 3, 6])
  np.testing.assert_array_equal(batch.sentence_lengths, [3, 1, 2, 2, 1, 3, 1, 2])
  np.testing.assert_array_equal(batch.sentences, [3, 2, 3])
  np.testing.assert_array_equal(batch.document, np.array([2, 4, 2], np.uint64))
  assert len(MemoryExamples(chunks).get(np.array([], int)).tokens) == 0


def test_synthetic_examples_fit_their_length_and_vocabulary():
  examples = make_synthetic_examples(200, 64, 1000, seed=3)
  batch = examples.get(np.arange(200))
  vocabulary = make_synthetic_vocabulary(1000)
  assert len(examples) == 200
  assert 1 <= examples.lengths.min() < 30
  assert (examples.lengths >= 61).mean() > 0.6  # full rows
  assert batch.sentence_lengths.min() >= 1
  assert batch.sentence_lengths.sum() == batch.lengths.sum() == len(batch.tokens)
  assert not vocabulary.is_special[batch.tokens].any()
  assert batch.tokens.max() < 1000
  np.testing.assert_array_equal(batch.tokens, make_synthetic_examples(200, 64, 1000, seed=3).get(np.arange(200)).tokens)


def test_a_vocabulary_without_words_is_refused():
  assert not make_synthetic_vocabulary(6).is_special[5]
  with pytest.raises(InputError, match=r"model\.vocab_size=5"):
    make_synthetic_vocabulary(5)
