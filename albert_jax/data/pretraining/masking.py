"""Whole-word n-gram masking (ALBERT, arXiv 1909.11942, section 4.1), vectorised over ragged examples.

Examples lie one after another in flat arrays, without padding. A word is a run of ordinary tokens; special tokens
are never predicted. Words are visited in random order; each brings a run of n words, which is shortened to fit the
example's budget and dropped where it would overlap an earlier run. Where budget is left when all have been visited
(short examples, high mask rates), words are visited once more, one at a time; the original gives up there.
"""

import dataclasses

import numpy as np

from albert_jax.data.pretraining.spec import BatchSettings, Vocabulary
from albert_jax.data.random import below, uniform

_HALF = np.uint64(32)


@dataclasses.dataclass(frozen=True)
class _Words:
  """The words of all examples, in order.

  Attributes:
    at: [W] flat position of each word's first token.
    before: [W + max_ngram] predictable tokens before each word; past the last word, their total.
    example: [W] the example that the word belongs to.
    following: [W] words in the longest run that may begin here, 1 to max_ngram.
  """

  at: np.ndarray
  before: np.ndarray
  example: np.ndarray
  following: np.ndarray


def count_predictions(lengths: np.ndarray, settings: BatchSettings) -> np.ndarray:
  """Number of tokens to predict in examples of these lengths, special tokens counted: [X]."""
  wanted = np.rint(settings.mask_rate * lengths).astype(np.int64)
  return np.minimum(np.maximum(wanted, 1), settings.example_predictions)


def choose_predictions(
  tokens: np.ndarray,
  types: np.ndarray,
  lengths: np.ndarray,
  bits: np.ndarray,
  vocabulary: Vocabulary,
  settings: BatchSettings,
) -> np.ndarray:
  """Chooses the tokens to predict.

  Args:
    tokens: [n] ids of all examples, one after another.
    types: [n] their segment types.
    lengths: [X] tokens in each example, each at least 1; they add up to n; X <= 2**16.
    bits: [n] random uint64, one for each token.
    vocabulary: its special ids and word starts are used.
    settings: how many tokens are predicted, and in what runs.

  Returns:
    Flat positions of the predicted tokens, in increasing order. An example has fewer than `count_predictions` where
    no word fits the rest of its budget.
  """
  predictable = ~vocabulary.is_special[tokens]
  words = _find_words(tokens, types, lengths, predictable, vocabulary, settings)
  if not len(words.at):
    return words.at
  bits = bits[words.at]
  order = _shuffle_words(words.example, bits, len(lengths))
  ngram = _draw_ngrams(words.following, bits, settings.max_ngram)
  taken = _take_runs(words, order, ngram, count_predictions(lengths, settings), settings.max_ngram)
  sizes = np.diff(words.before[: len(taken) + 1])
  return np.flatnonzero(predictable)[np.repeat(taken, sizes)]


def replace_tokens(labels: np.ndarray, bits: np.ndarray, vocabulary: Vocabulary, settings: BatchSettings) -> np.ndarray:
  """Draws what the model sees in place of predicted tokens: [MASK], a random token or the token itself.

  Args:
    labels: [m] true ids.
    bits: [m, 2] random uint64: the choice, and the random id.
    vocabulary: random ids are uniform over it, without special tokens.
    settings: the probabilities, and the quirk `random_specials`.
  """
  pool = np.arange(vocabulary.size)
  if not settings.random_specials:
    pool = pool[~vocabulary.is_special]
  choice = uniform(bits[:, 0])
  masked = choice < settings.mask_prob
  kept = choice >= settings.mask_prob + settings.random_prob
  seen = np.where(kept, labels, pool[below(bits[:, 1], len(pool))])
  return np.where(masked, vocabulary.mask_id, seen)


def _find_words(tokens, types, lengths, predictable, vocabulary, settings) -> _Words:
  begins = predictable.copy()
  if settings.whole_word:
    # A word also begins after a special token: at a segment's start, even where truncation cut the word.
    begins[1:] &= vocabulary.word_starts[tokens[1:]] | ~predictable[:-1]
  at = np.flatnonzero(begins)
  before = np.cumsum(predictable)[at] - 1
  before = np.append(before, np.full(settings.max_ngram, predictable.sum()))
  example = np.repeat(np.arange(len(lengths)), lengths)[at]
  span = example if settings.ngrams_straddle_segments else example * 2 + types[at]
  ends = np.searchsorted(span, span, side="right")
  following = np.minimum(ends - np.arange(len(at)), settings.max_ngram)
  return _Words(at=at, before=before, example=example, following=following)


def _shuffle_words(example: np.ndarray, bits: np.ndarray, num_examples: int) -> np.ndarray:
  """Shuffles the words inside each example.

  Sorting (example, random, word) packed into one integer is several times faster than an indirect sort, and leaves
  no tie whose order could depend on the other examples.
  """
  first = np.searchsorted(example, np.arange(num_examples))[example]
  word = np.arange(len(example)) - first
  key = (example.astype(np.uint64) << np.uint64(48)) | word.astype(np.uint64)
  key |= (bits >> _HALF) << np.uint64(16)
  key.sort()
  return first + (key & np.uint64(0xFFFF)).astype(np.int64)


def _draw_ngrams(following: np.ndarray, bits: np.ndarray, max_ngram: int) -> np.ndarray:
  """Draws n with p(n) ∝ 1/n for 1 <= n <= following."""
  cumulative = np.cumsum(1 / np.arange(1, max_ngram + 1))
  share = (bits & np.uint64(0xFFFFFFFF)) * 2.0**-32
  return 1 + np.searchsorted(cumulative, share * cumulative[following - 1], side="right")


def _take_runs(words, order, ngram, budget, max_ngram) -> np.ndarray:
  """Visits the k-th word of every example at once, in two rounds; returns which words are taken, [W].

  Example: one example of the words 0 … 4 with 1, 2, 1, 1 and 3 tokens, so that words.before is 0 1 3 4 5 8; budget 3,
  max_ngram 2, order 1 4 0 2 3, and ngram 2 for every word but the last.
  k = 0: word 1, wants 1 and 2 (2 + 1 tokens). It fits: both are taken, and no budget is left.
  With budget 4 it goes on. k = 1: word 4 has 3 tokens, only 1 is left, so it is dropped. k = 2: word 0 wants 0 and 1;
  the run is shortened to word 0, which fits the budget of 1. Taken: 0 1 2.
  Had budget been left after k = 4, a second round would have visited the words once more, one at a time.
  """
  count = np.bincount(words.example, minlength=len(budget))
  first = np.cumsum(count) - count
  before = words.before
  taken = np.zeros(len(order) + max_ngram, bool)
  run_nX = np.arange(max_ngram)[:, None]
  left = budget.copy()
  active = np.flatnonzero(count)
  k = 0
  while active.size:
    word = order[first[active] + k % count[active]]
    reach_nX = word + run_nX
    sizes_nX = before[reach_nX + 1] - before[word]
    wanted = np.where(k < count[active], ngram[word], 1)
    n = np.minimum(wanted, (sizes_nX <= left[active]).sum(axis=0))
    in_run_nX = run_nX < n
    fits = (n > 0) & ~(taken[reach_nX] & in_run_nX).any(axis=0)
    taken[reach_nX[in_run_nX & fits]] = True
    left[active] -= np.where(fits, before[word + n] - before[word], 0)
    k += 1
    active = active[(left[active] > 0) & (2 * count[active] > k)]
  return taken[: len(order)]
