"""Examples from chunks: the A|B split, the pair objective, truncation and special tokens, vectorised.

A chunk is a few whole sentences of one document. Everything here is flat: the tokens of all examples lie one after
another, in the order of the rows that they go to.
"""

import dataclasses

import numpy as np

from albert_jax.data.pretraining.spec import BatchSettings, Vocabulary
from albert_jax.data.random import Stream, below, count_heads, draw_bits

# Random examples tried for B: the first ones must be long enough, all of another document, or the pair stays as it is.
_CANDIDATES, _LONG_CANDIDATES = 4, 2
_SPLIT, _SWAP, _START, _CANDIDATE = 0, 1, 2, 3
_TRIM = _CANDIDATE + _CANDIDATES


@dataclasses.dataclass(frozen=True)
class Assembled:
  """Examples with their special tokens, one after another.

  Attributes:
    tokens, types, positions: [n] ids, segment types, positions within the example.
    row, slot: [X] where each example goes.
    lengths: [X] its tokens, special tokens included.
    pair_labels, pair_weights: [X] the pair objective's label, and whether there is one.
  """

  tokens: np.ndarray
  types: np.ndarray
  positions: np.ndarray
  row: np.ndarray
  slot: np.ndarray
  lengths: np.ndarray
  pair_labels: np.ndarray
  pair_weights: np.ndarray


@dataclasses.dataclass
class _Pairs:
  """Segments A and B of each example as slices of `tokens`; an empty B is no B."""

  tokens: np.ndarray
  start_X2: np.ndarray
  length_X2: np.ndarray
  labels: np.ndarray
  weights: np.ndarray


def assemble(
  examples,
  unsplit: np.ndarray,
  index_RN: np.ndarray,
  planned_RN: np.ndarray,
  first_row: int,
  vocabulary: Vocabulary,
  settings: BatchSettings,
) -> Assembled:
  """Makes the examples of consecutive rows.

  Args:
    examples: where the chunks are read, `Examples` or `MemoryExamples`.
    unsplit: [len(examples)] bool, those that have no A and B of their own.
    index_RN: example in each slot of each row, -1 = empty.
    planned_RN: longest that each may become, special tokens included.
    first_row: number of the first row; it selects the random numbers.
    vocabulary: ids of the special tokens.
    settings: the pair objective and its quirks.
  """
  row, slot = np.nonzero(index_RN >= 0)
  words = _TRIM + 1 + 2 * settings.max_length // 64
  shape = (*index_RN.shape, -1)
  bits = draw_bits(settings.seed, Stream.PAIR, first_row, len(index_RN), index_RN.shape[1] * words)
  bits = bits.reshape(shape)[row, slot]
  planned = planned_RN[row, slot]

  index = index_RN[row, slot]
  chunks = examples.get(index)
  pairs = _split(chunks, ~unsplit[index], bits[:, _SPLIT])
  heads = (bits[:, _SWAP] & np.uint64(1)).astype(bool)
  if settings.pair_objective == "sop":
    _swap(pairs, heads & (pairs.weights > 0))
  if settings.pair_objective != "none":
    wanted = heads & (pairs.weights > 0) & (settings.pair_objective == "nsp")
    if settings.single_sentence_random_pair:
      wanted |= (chunks.sentences == 1) & (planned >= settings.special_tokens + 2)
    _pair_at_random(pairs, np.flatnonzero(wanted), chunks.document, planned, examples, bits)
  specials = 2 + (pairs.length_X2[:, 1] > 0)
  _truncate(pairs, planned - specials, bits[:, _TRIM:])
  return _join(pairs, row, slot, vocabulary)


def _split(chunks, may_split: np.ndarray, bits: np.ndarray) -> _Pairs:
  """Splits chunks of several sentences in two, uniformly over the boundaries between them."""
  end = np.cumsum(chunks.lengths)
  start = end - chunks.lengths
  sentence_end = np.cumsum(chunks.sentence_lengths)
  first = np.cumsum(chunks.sentences) - chunks.sentences
  splits = (chunks.sentences > 1) & may_split
  cut = np.where(splits, sentence_end[first + below(bits, np.maximum(chunks.sentences - 1, 1))], end)
  return _Pairs(
    tokens=chunks.tokens,
    start_X2=np.stack([start, cut], axis=1),
    length_X2=np.stack([cut - start, end - cut], axis=1),
    labels=np.zeros(len(end), np.int32),
    weights=splits.astype(np.float32),
  )


def _swap(pairs: _Pairs, swap: np.ndarray):
  pairs.start_X2[swap] = pairs.start_X2[swap, ::-1]
  pairs.length_X2[swap] = pairs.length_X2[swap, ::-1]
  pairs.labels[swap] = 1


def _pair_at_random(pairs, wanted, documents, planned, examples, bits):
  """Replaces B by text of another document, label 1, in the examples `wanted`.

  An example for which no candidate comes from another document stays as it is.
  """
  for c in range(_CANDIDATE, _CANDIDATE + _CANDIDATES):
    if not len(wanted):
      return
    others = examples.get(below(bits[wanted, c], len(examples)))
    length_a, length_b = pairs.length_X2[wanted].T
    room = planned[wanted] - 3 - length_a
    goal = np.where(length_b > 0, length_b, room)
    start, length = _choose_text(others, goal, room, bits[wanted, _START])
    fits = others.document != documents[wanted]
    if c < _CANDIDATE + _LONG_CANDIDATES:
      fits &= others.lengths >= np.minimum(goal, room)
    found = wanted[fits]
    pairs.start_X2[found, 1] = len(pairs.tokens) + start[fits]
    pairs.length_X2[found, 1] = length[fits]
    pairs.labels[found] = 1
    pairs.weights[found] = 1
    pairs.tokens = np.concatenate([pairs.tokens, others.tokens])
    wanted = wanted[~fits]


def _choose_text(chunks, goal, room, bits) -> tuple[np.ndarray, np.ndarray]:
  """Chooses B from unrelated chunks: whole sentences, about `goal` tokens long, from a random sentence on.

  The length is matched because it would otherwise give the label away: a true pair fills its chunk, while A and an
  unrelated chunk's B together mostly do not. For the same reason B must be truncated exactly where the true B would be.
  So where `goal` is more than `room`, B has at least `room` tokens; otherwise it has at most `room`, unless its first
  sentence alone has more.

  Example: one chunk whose sentences have 4, 6, 3 and 5 tokens, so that they begin at 0, 4, 10 and 13 and end at 18.
  With goal 8, B may begin at 0, 4 or 10: from 13 on there would be too little left. Say that it begins at 4. Then
  stopping at 13 (9 tokens) is nearer to 8 than stopping at 10 (6 tokens): (start, length) = (4, 9). With room 8, 9
  tokens would be truncated where the true B of 8 is not: it is (4, 6).

  Returns:
    Start and length of each B in the chunks' tokens, [X] each.
  """
  end = np.cumsum(chunks.lengths)
  sentence_end = np.cumsum(chunks.sentence_lengths)
  sentence_start = sentence_end - chunks.sentence_lengths
  first = np.cumsum(chunks.sentences) - chunks.sentences
  last = first + chunks.sentences - 1
  early = np.searchsorted(sentence_start, end - goal, side="right") - first
  begin = first + below(bits, np.clip(early, 1, chunks.sentences))
  start = sentence_start[begin]
  target = start + goal
  stop = np.clip(np.searchsorted(sentence_end, target), begin, last)
  longer, shorter = sentence_end[stop] - start, sentence_end[stop - 1] - start
  nearer = longer - goal > goal - shorter
  drop = np.where(goal > room, nearer & (shorter >= room), nearer | (longer > room))
  stop = np.where(drop & (stop > begin), stop - 1, stop)
  return start, sentence_end[stop] - start


def _truncate(pairs: _Pairs, room: np.ndarray, bits_XW: np.ndarray):
  """Takes tokens one by one from the longer segment (B if equal), from its front or back with equal chance.

  In closed form: the longer one is cut until both are equal, then they take turns, B first.
  """
  length_a, length_b = pairs.length_X2.T
  excess = np.maximum(length_a + length_b - room, 0)
  level = np.minimum(excess, np.abs(length_a - length_b))
  rest = excess - level
  cut_a = np.where(length_a > length_b, level, 0) + rest // 2
  cut_b = excess - cut_a
  front_a = count_heads(bits_XW, cut_a)
  front_b = count_heads(bits_XW, excess) - front_a
  pairs.start_X2 += np.stack([front_a, front_b], axis=1)
  pairs.length_X2 -= np.stack([cut_a, cut_b], axis=1)


def _join(pairs: _Pairs, row, slot, vocabulary: Vocabulary) -> Assembled:
  """Lays out [CLS] A [SEP] B [SEP], or [CLS] A [SEP]: one gather over all examples."""
  length_a, length_b = pairs.length_X2.T
  one = np.ones_like(length_a)
  source = np.append(pairs.tokens, np.array([vocabulary.cls_id, vocabulary.sep_id], np.int32))
  cls, sep = one * (len(source) - 2), one * (len(source) - 1)
  start_a, start_b = pairs.start_X2.T
  starts = np.stack([cls, start_a, sep, start_b, sep], axis=1).ravel()
  lengths_X5 = np.stack([one, length_a, one, length_b, (length_b > 0).astype(one.dtype)], axis=1)
  lengths = lengths_X5.sum(axis=1)
  pieces = lengths_X5.ravel()
  steps = np.arange(pieces.sum())
  return Assembled(
    tokens=source[steps + np.repeat(starts - (np.cumsum(pieces) - pieces), pieces)],
    types=np.repeat(np.tile(np.array([0, 0, 0, 1, 1], np.int32), len(row)), pieces),
    positions=(steps - np.repeat(np.cumsum(lengths) - lengths, lengths)).astype(np.int32),
    row=row,
    slot=slot,
    lengths=lengths,
    pair_labels=pairs.labels,
    pair_weights=pairs.weights,
  )
