"""Cuts documents into chunks: whole, consecutive sentences of one document that fill a row.

As in the original (google-research/albert, `create_pretraining_data.py`) the sentence that reaches the end of a row
belongs to the chunk, and what is too much is truncated when the row is made, anew in every epoch. A chunk that ended
before that sentence would leave half a sentence of every row empty, which no other chunk is short enough to fill.

Every decision is a hash of (seed, document key, chunk number), so that neither the order of the
documents nor the number of processes changes a single chunk.
"""

import dataclasses
import hashlib
from collections.abc import Sequence

import numpy as np

from albert_jax.errors import InputError

SPECIALS = 3  # [CLS] A [SEP] B [SEP]
LAYOUTS = ("auto", "sentences", "paragraphs")


@dataclasses.dataclass(frozen=True)
class ExampleSettings:
  """Settings that, with the text and the tokenizer, decide a set of examples.

  Attributes:
    max_length: tokens in a row, [CLS] and both [SEP] included. A chunk ends with the sentence that brings it to
      max_length - 3 tokens or more.
    short_seq_prob: share of the chunks whose target length is uniform in 2…max_length - 3
      (BERT, appendix A.2).
    layout: what a line of the text holds: "sentences", "paragraphs", or "auto" to look at the text.
    valid_fraction: expected share of the documents that are held out; never less than one document.
    seed: decides the targets and which documents are held out.
  """

  max_length: int = 512
  short_seq_prob: float = 0.1
  layout: str = "auto"
  valid_fraction: float = 0.01
  seed: int = 0

  def __post_init__(self):
    if self.max_length < 8:
      raise InputError(f"max_length is {self.max_length}: a row needs at least 8 tokens.")
    if not 0 <= self.short_seq_prob <= 1:
      raise InputError(f"short_seq_prob is {self.short_seq_prob}: it must lie in [0, 1].")
    if not 0 < self.valid_fraction < 1:
      raise InputError(
        f"valid_fraction is {self.valid_fraction}: it must lie between 0 and 1; "
        "a tiny one, like 1e-9, holds out a single document."
      )
    if self.layout not in LAYOUTS:
      raise InputError(f"layout is {self.layout!r}: it must be one of {', '.join(LAYOUTS)}.")

  @property
  def chunk_length(self) -> int:
    """Tokens that fill a row, and the most of one sentence that a chunk holds."""
    return self.max_length - SPECIALS


def find_cuts(
  last_lengths: np.ndarray, documents: np.ndarray, chunk_length: int, before: tuple[bool, int] = (False, -1)
) -> np.ndarray:
  """Finds the chunks that begin or end inside a sentence which was too long and was cut.

  Only a cut leaves a sentence of `chunk_length` tokens, and always at the end of its chunk; the rest begins the next
  one. (A sentence of just that length passes for cut, too.)

  Args:
    last_lengths: [X] tokens in the last sentence of consecutive chunks.
    documents: [X] the document of each.
    chunk_length: of the settings.
    before: the same of the chunk before the first: whether it ends in a cut, and its document.

  Returns:
    bool [X].
  """
  ends = last_lengths == chunk_length
  previous = np.append(before[0], ends[:-1]) & (np.append(np.uint64(max(before[1], 0)), documents[:-1]) == documents)
  return ends | previous


def stable_hash(*parts: object) -> int:
  """64-bit hash of the parts' text, equal in every process and on every machine."""
  text = "\0".join(map(str, parts))
  return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def _target(key: str, number: int, settings: ExampleSettings) -> int:
  """The length that chunk `number` of document `key` fills up to."""
  if stable_hash("short", settings.seed, key, number) >= settings.short_seq_prob * 2**64:
    return settings.chunk_length
  return 2 + stable_hash("target", settings.seed, key, number) % (settings.chunk_length - 1)


def document_chunks(sentence_lengths: Sequence[int], key: str, settings: ExampleSettings) -> list[list[int]]:
  """Divides a document's tokens, in order and without loss, into chunks of whole sentences.

  A chunk ends with the sentence that reaches its target. A sentence longer than `chunk_length` is cut there, and goes
  on as the next one.

  Args:
    sentence_lengths: tokens in each sentence of the document.
    key: the document's key.

  Returns:
    For each chunk the lengths of its sentences, none of them 0.
  """
  chunks, chunk = [], []
  left = _target(key, 0, settings)
  for length in sentence_lengths:
    for start in range(0, length, settings.chunk_length):
      piece = min(length - start, settings.chunk_length)
      chunk.append(piece)
      left -= piece
      if left <= 0:
        chunks.append(chunk)
        chunk, left = [], _target(key, len(chunks), settings)
  return [*chunks, chunk] if chunk else chunks
