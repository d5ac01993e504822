"""Examples in memory, for benchmarks and tests: `Examples` without files."""

import numpy as np

from albert_jax.data.examples.chunks import SPECIALS, find_cuts
from albert_jax.data.examples.reader import ExampleBatch
from albert_jax.data.pretraining.spec import Vocabulary
from albert_jax.errors import InputError

SPECIAL_IDS = 5  # the first ids of a made-up vocabulary: [PAD], [UNK], [CLS], [SEP], [MASK]


class MemoryExamples:
  """Examples given as lists of sentences, each a list of token ids."""

  def __init__(
    self,
    chunks: list[list[list[int]]],
    documents: list[int] | None = None,
    *,
    max_length: int | None = None,
  ):
    """Makes example i of `chunks[i]`, of document `documents[i]` (default: each of its own).

    `max_length` is the length that the examples were prepared for (default: the longest, with special tokens).
    """
    self.sentences = np.array([len(c) for c in chunks], np.int32)
    self._sentence_lengths = np.array([len(s) for c in chunks for s in c], np.int32)
    self._tokens = np.array([t for c in chunks for s in c for t in s], np.int32)
    self._documents = np.arange(len(chunks)) if documents is None else np.array(documents)
    self._documents = self._documents.astype(np.uint64)
    self._sentence_at = np.append(0, np.cumsum(self.sentences))
    self._token_at = np.append(0, np.cumsum(self._sentence_lengths))[self._sentence_at]
    self.lengths = np.diff(self._token_at).astype(np.int32)
    longest = max_length or int(self.lengths.max(initial=0)) + SPECIALS
    self.metadata = {"settings": {"max_length": longest}}
    last_lengths = self._sentence_lengths[self._sentence_at[1:] - 1] if chunks else self.lengths
    self.is_cut = find_cuts(last_lengths, self._documents, longest - SPECIALS)

  def __len__(self) -> int:
    return len(self.lengths)

  def get(self, indices: np.ndarray) -> ExampleBatch:
    """Reads examples, as `Examples.get` does."""
    lengths, sentences = self.lengths[indices], self.sentences[indices]
    return ExampleBatch(
      tokens=self._tokens[_ranges(self._token_at[indices], lengths)],
      lengths=lengths,
      sentence_lengths=self._sentence_lengths[_ranges(self._sentence_at[indices], sentences)],
      sentences=sentences,
      document=self._documents[indices],
    )


def _ranges(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
  """Concatenates the ranges [start, start + length)."""
  return np.repeat(starts - (np.cumsum(lengths) - lengths), lengths) + np.arange(lengths.sum())


def make_synthetic_examples(
  count: int, max_length: int, vocab_size: int, *, full: float = 0.8, seed: int = 0
) -> MemoryExamples:
  """Makes examples of random tokens, with sentences of about 25.

  A share `full` of them goes on to the sentence that fills a row, like prepared examples; the others end anywhere, like
  short documents.
  """
  rng = np.random.default_rng(seed)
  chunks, room = [], max_length - 3
  for _ in range(count):
    ends = np.cumsum(np.clip(rng.lognormal(3.1, 0.5, room).astype(int), 3, room))
    stop = ends[np.searchsorted(ends, room)] if rng.random() < full else rng.integers(1, room)
    lengths = np.diff(np.minimum(ends, stop), prepend=0)
    chunks.append([rng.integers(SPECIAL_IDS, vocab_size, n).tolist() for n in lengths if n])
  return MemoryExamples(chunks, documents=[i // 4 for i in range(count)], max_length=max_length)


def make_synthetic_vocabulary(size: int, *, seed: int = 0) -> Vocabulary:
  """Makes a vocabulary in which three pieces of four begin a word, about as in English text.

  Raises:
    InputError: there is no room for the special pieces and a word.
  """
  if size <= SPECIAL_IDS:
    raise InputError(f"model.vocab_size={size}: random text needs {SPECIAL_IDS} special pieces and words beside them.")
  starts = np.random.default_rng(seed).random(size) < 0.75
  return Vocabulary(
    size=size,
    pad_id=0,
    cls_id=2,
    sep_id=3,
    mask_id=4,
    special_ids=tuple(range(SPECIAL_IDS)),
    word_starts=starts,
  )
