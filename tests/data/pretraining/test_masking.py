"""The masking rules, each against a number that does not come from the code under test."""

import collections
import random

import numpy as np
import pytest
from scipy import stats

from albert_jax.data.pretraining.masking import choose_predictions, count_predictions, replace_tokens
from albert_jax.data.pretraining.spec import BatchSettings, Vocabulary

# Probability of |z| > 4: what a true null hypothesis exceeds once in 16,000 seeds.
RARE = 6e-5
PAD, UNK, CLS, SEP, MASK = range(5)
SIZE = 45
# Even ids begin a word, odd ids continue one.
STARTS = np.arange(SIZE) % 2 == 0
VOCABULARY = Vocabulary(SIZE, PAD, CLS, SEP, MASK, (PAD, UNK, CLS, SEP, MASK), STARTS)


def words(*lengths):
  """Ids of words of these lengths."""
  return [i for length in lengths for i in [6] + [7] * (length - 1)]


def lay_out(a, b=()):
  """([CLS] A [SEP] B [SEP], types)."""
  tokens = [CLS, *a, SEP] + ([*b, SEP] if b else [])
  return tokens, [0] * (len(a) + 2) + [1] * (len(tokens) - len(a) - 2)


def flatten(examples):
  tokens = np.array([t for e in examples for t in e[0]])
  types = np.array([t for e in examples for t in e[1]])
  return tokens, types, np.array([len(e[0]) for e in examples])


def draw(shape, seed=0):
  return np.random.default_rng(seed).integers(0, 2**64, shape, dtype=np.uint64)


def choose(examples, settings, seed=0):
  """Chosen positions within each example: a list of sets."""
  tokens, types, lengths = flatten(examples)
  chosen = choose_predictions(tokens, types, lengths, draw(len(tokens), seed), VOCABULARY, settings)
  assert (np.diff(chosen) > 0).all()
  ends = np.cumsum(lengths)
  example = np.searchsorted(ends, chosen, side="right")
  sets = [set() for _ in examples]
  for x, place in zip(example.tolist(), (chosen - (ends - lengths)[example]).tolist()):
    sets[x].add(place)
  return sets


def slow_choose(example, settings, rng):
  """The rules in plain Python, one example, as the documents describe them."""
  tokens, types = example
  found = []  # words: lists of positions
  for place, token in enumerate(tokens):
    if token in VOCABULARY.special_ids:
      continue
    goes_on = settings.whole_word and not STARTS[token] and tokens[place - 1] not in VOCABULARY.special_ids
    if goes_on:
      found[-1].append(place)
    else:
      found.append([place])
  budget = min(settings.example_predictions, max(1, round(settings.mask_rate * len(tokens))))
  chosen = set()
  order = list(range(len(found)))
  rng.shuffle(order)
  for visit, first in enumerate(order * 2):
    segment = types[found[first][0]]
    run = found[first : first + (settings.max_ngram if visit < len(order) else 1)]
    if not settings.ngrams_straddle_segments:
      run = [w for w in run if types[w[0]] == segment]
    n = rng.choices(range(1, len(run) + 1), [1 / n for n in range(1, len(run) + 1)])[0]
    while n and len(chosen) + sum(map(len, run[:n])) > budget:
      n -= 1
    places = {p for w in run[:n] for p in w}
    if not places & chosen:
      chosen |= places
  return chosen


def spans(chosen):
  """Lengths of the runs of neighbouring positions."""
  ordered = sorted(chosen)
  starts = [i for i, p in enumerate(ordered) if p - 1 not in chosen]
  return np.diff([*starts, len(ordered)]).tolist()


def assert_same_law(a, b):
  """Two samples of outcomes come from one distribution (chi-square, rare outcomes pooled)."""
  a, b = collections.Counter(a), collections.Counter(b)
  common = [k for k in {*a, *b} if a[k] + b[k] >= 20]
  table = np.array([[c[k] for k in common] + [c.total() - sum(c[k] for k in common)] for c in (a, b)])
  table = table[:, table.sum(axis=0) > 0]
  assert table.shape[1] > 1
  assert stats.chi2_contingency(table).pvalue > RARE


SMALL = [
  lay_out(words(1, 1, 1, 1, 1), words(1, 1, 1)),
  lay_out(words(2, 1, 3, 1), words(1, 2)),
  lay_out([7, 6, 6, UNK, 7, 6], [7, 7, 6]),  # words cut at their front, an unknown token
]


@pytest.mark.parametrize("example", SMALL)
@pytest.mark.parametrize(
  "options",
  [
    {},
    {"max_ngram": 1},
    {"max_ngram": 2, "whole_word": False},
    {"ngrams_straddle_segments": True},
    {"ngrams_straddle_segments": True, "whole_word": False, "max_ngram": 4},
  ],
)
def test_sets_of_predictions_follow_the_rules(example, options):
  settings = BatchSettings(max_length=32, mask_rate=0.35, **options)
  rng = random.Random(0)
  slow = [frozenset(slow_choose(example, settings, rng)) for _ in range(4000)]
  fast = [frozenset(s) for s in choose([example] * 4000, settings)]
  assert_same_law(slow, fast)


@pytest.mark.parametrize("mask_rate", [0.15, 0.4])
def test_counts_and_spans_follow_the_rules_in_long_rows(mask_rate):
  rng = random.Random(0)
  settings = BatchSettings(mask_rate=mask_rate)
  texts = [[rng.choice((6, 6, 7)) for _ in range(rng.randint(150, 254))] for _ in range(400)]
  examples = [lay_out(a, b) for a, b in zip(texts[::2], texts[1::2])]
  slow = [slow_choose(e, settings, rng) for e in examples]
  fast = choose(examples, settings)
  missing = [settings.mask_rate * len(e[0]) - len(s) for e, s in zip(examples, fast)]
  assert max(missing) <= 0.5  # a budget that no word fits is rare in long rows
  assert [len(s) for s in slow] == [len(s) for s in fast]
  assert_same_law([n for s in slow for n in spans(s)], [n for s in fast for n in spans(s)])


def test_number_of_predictions():
  examples = [lay_out([6] * n) for n in range(1, 63)]
  settings = BatchSettings(max_length=64, mask_rate=0.15, max_predictions=8)
  lengths = np.array([len(e[0]) for e in examples])
  expected = [min(8, max(1, round(0.15 * n))) for n in lengths.tolist()]
  assert expected[0] == 1
  assert max(expected) == 8
  np.testing.assert_array_equal(count_predictions(lengths, settings), expected)
  assert [len(s) for s in choose(examples, settings)] == expected


def test_a_run_of_n_words_has_probability_in_proportion_to_one_over_n():
  # Budget 3 in 1,000 words: a first run of 3 fills it; 2 + 1; 1 + (2 or 3, shortened to 2); or 1 + 1 + 1.
  settings = BatchSettings(max_length=1024, max_predictions=3)
  results = choose([lay_out([6] * 1000)] * 3000, settings)
  counts = collections.Counter(tuple(sorted(spans(s))) for s in results)
  p1, p3 = 6 / 11, 2 / 11
  three, ones = p3, p1 * p1
  expected = np.array([three, 1 - three - ones, ones]) * 3000
  observed = [counts[3,], counts[1, 2], counts[1, 1, 1]]
  assert stats.chisquare(observed, expected).pvalue > RARE


def test_runs_near_the_end_are_drawn_among_those_that_fit():
  # Three words, budget 2. From word 0, n = 1 has 6/11 and then word 1 or 2 follows; from word 1, n is 1 or 2 with 2/3
  # and 1/3; from word 2, n = 1.
  results = choose([lay_out([6] * 3)] * 40_000, BatchSettings(max_length=8, mask_rate=0.35))
  counts = collections.Counter(frozenset(s) for s in results)
  expected = {
    frozenset({1, 2}): (5 / 11 + 6 / 11 / 2) + 2 / 3 / 2,
    frozenset({1, 3}): 6 / 11 / 2 + 1 / 2,
    frozenset({2, 3}): (1 / 3 + 2 / 3 / 2) + 1 / 2,
  }
  observed = [counts.pop(k) for k in expected]
  assert not counts
  assert stats.chisquare(observed, np.array(list(expected.values())) * 40_000 / 3).pvalue > RARE


@pytest.mark.parametrize("whole_word", [True, False])
def test_whole_words_stay_whole(whole_word):
  settings = BatchSettings(max_length=128, mask_rate=0.3, whole_word=whole_word)
  example = lay_out(words(*[1, 2, 3] * 10), words(*[2, 4] * 8))
  tokens = np.array(example[0])
  continues = np.flatnonzero((tokens != CLS) & (tokens != SEP) & ~STARTS[tokens])
  split = sum((p in s) != (p - 1 in s) for s in choose([example] * 100, settings) for p in continues.tolist())
  assert (split == 0) == whole_word


def test_words_are_predicted_equally_often_far_from_the_ends():
  settings = BatchSettings(max_length=128, mask_rate=0.15)
  results = choose([lay_out([6] * 120)] * 4000, settings)
  places = np.bincount([p for s in results for p in s], minlength=122)[4:118]
  # Predictions of one example are not independent, but their number is fixed: the counts spread less than multinomial.
  assert stats.chisquare(places).pvalue > RARE


def test_special_tokens_are_never_chosen():
  settings = BatchSettings(max_length=64, mask_rate=0.9, max_predictions=64)
  examples = [lay_out([6, UNK, 6, MASK, 7, PAD, 6], [UNK, 8])] * 50
  for chosen in choose(examples, settings):
    assert chosen == {1, 3, 5, 7, 10}


def test_examples_do_not_touch_each_other():
  rng = np.random.default_rng(0)
  settings = BatchSettings(max_length=64, mask_rate=0.3, ngrams_straddle_segments=True)
  examples = [lay_out(rng.integers(5, SIZE, n).tolist(), [6] * (n % 3)) for n in rng.integers(1, 40, 60)]
  tokens, types, lengths = flatten(examples)
  bits = draw(len(tokens))
  together = choose_predictions(tokens, types, lengths, bits, VOCABULARY, settings)
  apart = []
  for end, n in zip(np.cumsum(lengths), lengths):
    part = slice(end - n, end)
    one = choose_predictions(tokens[part], types[part], np.array([n]), bits[part], VOCABULARY, settings)
    apart += (one + end - n).tolist()
  np.testing.assert_array_equal(together, apart)


def test_a_word_longer_than_the_budget_is_skipped():
  settings = BatchSettings(max_length=64, mask_rate=0.15)
  long, short = lay_out(words(12)), lay_out(words(12, 1, 12))
  for chosen in choose([long, short] * 50, settings)[::2]:
    assert chosen == set()
  for chosen in choose([long, short] * 50, settings)[1::2]:
    assert chosen == {13}  # the one word that fits is found


def test_rows_without_words():
  settings = BatchSettings(max_length=8)
  assert choose([lay_out([UNK])] * 3, settings) == [set()] * 3
  assert choose([lay_out([7])], settings) == [{1}]
  nothing = np.array([], int)
  assert len(choose_predictions(nothing, nothing, nothing, draw(0), VOCABULARY, settings)) == 0


@pytest.mark.parametrize("packing", [1, 2, 5])
def test_predictions_of_a_row_always_fit(packing):
  rng = np.random.default_rng(packing)
  for _ in range(300):
    rate, cap = rng.uniform(0.01, 0.9), int(rng.choice([0, 2, 10]))
    settings = BatchSettings(max_length=64, mask_rate=rate, packing=packing, max_predictions=cap)
    ends = np.sort(rng.choice(np.arange(3, 65), packing))
    lengths = np.diff(ends, prepend=0)
    assert count_predictions(lengths[lengths > 2], settings).sum() <= settings.row_predictions


@pytest.mark.parametrize(
  ("settings", "lengths", "most"),
  [
    # The fullest row of each kind, and what it can hold at most.
    ({"max_length": 512, "max_predictions": 20, "packing": 2}, [256, 256], 40),  # twice ALBERT's 20
    ({"max_length": 128, "max_predictions": 20, "packing": 2}, [64, 64], 20),  # no more than one example of 128
    ({"max_length": 512, "packing": 1}, [512], 77),
    ({"max_length": 512, "packing": 8}, [57, 57, 57, 57, 57, 57, 57, 113], 80),
    ({"max_length": 12, "mask_rate": 0.02, "packing": 4}, [3, 3, 3, 3], 4),
  ],
)
def test_a_row_has_hardly_more_places_than_predictions(settings, lengths, most):
  settings = BatchSettings(**settings)
  assert count_predictions(np.array(lengths), settings).sum() == most <= settings.row_predictions <= most + 1


def test_predictions_become_mask_random_or_stay():
  n = 40_000
  labels = np.full(n, 6)
  settings = BatchSettings()
  seen = replace_tokens(labels, draw((n, 2)), VOCABULARY, settings)
  ordinary = SIZE - 5
  kept = 0.1 + 0.1 / ordinary  # a random token may be the true one
  observed = [(seen == MASK).sum(), (seen == 6).sum(), ((seen != MASK) & (seen != 6)).sum()]
  assert stats.chisquare(observed, n * np.array([0.8, kept, 0.2 - kept])).pvalue > RARE

  settings = BatchSettings(mask_prob=0.5, random_prob=0.3)
  seen = replace_tokens(labels, draw((n, 2)), VOCABULARY, settings)
  assert stats.binomtest(int((seen == MASK).sum()), n, 0.5).pvalue > RARE
  assert stats.binomtest(int((seen == 6).sum()), n, 0.2 + 0.3 / ordinary).pvalue > RARE


@pytest.mark.parametrize("random_specials", [False, True])
def test_random_tokens_are_uniform(random_specials):
  n = 20_000
  settings = BatchSettings(mask_prob=0.0, random_prob=1.0, random_specials=random_specials)
  seen = replace_tokens(np.full(n, 6), draw((n, 2)), VOCABULARY, settings)
  counts = np.bincount(seen, minlength=SIZE)
  if not random_specials:
    assert counts[:5].sum() == 0
    counts = counts[5:]
  assert stats.chisquare(counts).pvalue > RARE
