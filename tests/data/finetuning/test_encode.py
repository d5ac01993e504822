import numpy as np
import pytest

from albert_jax.data.finetuning import encode
from albert_jax.data.finetuning.encode import Sequences, encode_sequences, truncate_first, truncate_longest
from albert_jax.errors import InputError


def of_sizes(sizes_X2, *, paired=True) -> Sequences:
  """Sequences whose tokens are 0, 1, 2, …"""
  sizes_X2 = np.array(sizes_X2, np.int64)
  ends = np.cumsum(sizes_X2).reshape(-1, 2)
  return Sequences(np.arange(ends[-1, -1], dtype=np.int32), ends - sizes_X2, sizes_X2, paired)


def segment(sequences, index, place):
  start, size = sequences.starts_X2[index, place], sequences.sizes_X2[index, place]
  return sequences.tokens[start : start + size].tolist()


def test_pairs_are_encoded_once_for_equal_texts(word_tokenizer, monkeypatch):
  monkeypatch.setattr(encode, "TEXTS_PER_CALL", 2)
  sequences = encode_sequences(word_tokenizer, ["w0 w1", "w0 w1", ""], ["w2", "w0 w1", "w3 w4 w5"])
  assert [[segment(sequences, i, place) for place in range(2)] for i in range(3)] == [
    [[5, 6], [7]],
    [[5, 6], [5, 6]],
    [[], [8, 9, 10]],
  ]
  assert sequences.lengths.tolist() == [6, 7, 6]
  assert len(sequences.tokens) == 6
  assert sequences.tokens.dtype == np.int32


def test_single_texts(word_tokenizer):
  sequences = encode_sequences(word_tokenizer, ["w0 w1 w2", ""], None)
  assert not sequences.paired
  assert sequences.lengths.tolist() == [5, 2]
  assert segment(truncate_longest(sequences, 4), 0, 0) == [5, 6]


def test_the_fingerprint_is_that_of_the_content(word_tokenizer):
  texts = ["w0 w1", "w2"]
  same, other = (encode_sequences(word_tokenizer, texts, texts[::step]) for step in (1, -1))
  assert same.fingerprint == encode_sequences(word_tokenizer, texts, texts).fingerprint
  assert same.fingerprint != other.fingerprint


def pop_longest(a, b, room):
  """BERT's rule, token by token (arXiv 1810.04805, released code)."""
  a, b = list(a), list(b)
  while len(a) + len(b) > room:
    (a if len(a) > len(b) else b).pop()
  return [a, b]


@pytest.mark.parametrize("max_length", [8, 9, 14])
def test_truncation_of_the_longer(max_length):
  sizes = [(a, b) for a in range(12) for b in range(12)]
  whole = of_sizes(sizes)
  cut = truncate_longest(whole, max_length)
  assert cut.lengths.max() == max_length
  for i in range(len(sizes)):
    expected = pop_longest(segment(whole, i, 0), segment(whole, i, 1), max_length - 3)
    assert [segment(cut, i, 0), segment(cut, i, 1)] == expected


def test_truncation_of_the_first():
  whole = of_sizes([(10, 2), (10, 9), (1, 9), (0, 0), (3, 3)])
  cut = truncate_first(whole, max_length=11, max_second=5)
  assert cut.sizes_X2.tolist() == [[6, 2], [3, 5], [1, 5], [0, 0], [3, 3]]
  assert segment(cut, 1, 0) == segment(whole, 1, 0)[:3]
  assert segment(cut, 1, 1) == segment(whole, 1, 1)[-5:]
  assert truncate_first(whole, max_length=8, max_second=9).sizes_X2.tolist() == [[3, 2], [0, 5], [0, 5], [0, 0], [2, 3]]


def test_pairs_need_two_token_types():
  encode.check_token_types(paired=False, token_types=1, model="m")
  encode.check_token_types(paired=True, token_types=2, model="m")
  with pytest.raises(InputError, match="one token type"):
    encode.check_token_types(paired=True, token_types=1, model="m")
