"""Examples in memory, for benchmarks and tests: `Examples` without files."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class _Chunks:
  """What `MemoryExamples.get` returns; the fields of `ExampleBatch`."""

  tokens: np.ndarray
  lengths: np.ndarray
  sentence_lengths: np.ndarray
  sentences: np.ndarray
  document: np.ndarray


class MemoryExamples:
  """Examples given as lists of sentences, each a list of token ids."""

  def __init__(self, chunks: list[list[list[int]]], documents: list[int] | None = None):
    """Makes example i of `chunks[i]`, of document `documents[i]` (default: each of its own)."""
    self._sentences = np.array([len(c) for c in chunks])
    self._sentence_lengths = np.array([len(s) for c in chunks for s in c], np.int32)
    self._tokens = np.array([t for c in chunks for s in c for t in s], np.int32)
    self._documents = np.arange(len(chunks)) if documents is None else np.array(documents)
    self._documents = self._documents.astype(np.uint64)
    self._sentence_at = np.append(0, np.cumsum(self._sentences))
    self._token_at = np.append(0, np.cumsum(self._sentence_lengths))[self._sentence_at]
    self.lengths = np.diff(self._token_at).astype(np.int32)

  def __len__(self) -> int:
    return len(self.lengths)

  def get(self, indices: np.ndarray) -> _Chunks:
    """Reads examples, as `Examples.get` does."""
    lengths, sentences = self.lengths[indices], self._sentences[indices]
    return _Chunks(
      tokens=self._tokens[_ranges(self._token_at[indices], lengths)],
      lengths=lengths,
      sentence_lengths=self._sentence_lengths[_ranges(self._sentence_at[indices], sentences)],
      sentences=sentences,
      document=self._documents[indices],
    )


def _ranges(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
  """Concatenates the ranges [start, start + length)."""
  return np.repeat(starts - (np.cumsum(lengths) - lengths), lengths) + np.arange(lengths.sum())
