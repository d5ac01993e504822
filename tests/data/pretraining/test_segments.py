import numpy as np
import pytest
from scipy import stats

from albert_jax.data.pretraining.segments import assemble
from albert_jax.data.pretraining.spec import BatchSettings
from tests.data.pretraining.traced import RARE, VOCABULARY, Traced


def flat(sentences):
  return [t for s in sentences for t in s]


SIX = Traced([[3, 1, 4, 1, 5, 2]])


def test_splits_are_uniform_over_sentence_boundaries():
  chunk = SIX.chunks[0]
  counts = np.zeros(5, int)
  for _, a, b, _, weight in SIX.make(4000, pair_objective="nsp"):
    k = next(k for k in range(1, 6) if a == flat(chunk[:k]))
    assert b == flat(chunk[k:])
    assert weight == 1
    counts[k - 1] += 1
  assert stats.chisquare(counts).pvalue > RARE


def test_sop_swaps_half_of_the_pairs():
  swaps = 0
  for _, a, b, label, weight in SIX.make(4000):
    assert weight == 1
    assert (b + a if label else a + b) == flat(SIX.chunks[0])
    swaps += label
  assert stats.binomtest(swaps, 4000, 0.5).pvalue > RARE


def test_sop_swaps_whatever_the_split():
  """Label and split are independent: the lengths must not give the label away."""
  table = np.zeros((2, 64), int)
  for _, a, b, label, _ in SIX.make(4000):
    table[label, len(b if label else a)] += 1
  assert stats.chi2_contingency(table[:, table.any(axis=0)]).pvalue > RARE


def test_without_a_pair_objective_there_is_one_segment():
  for _, a, b, label, weight in SIX.make(20, pair_objective="none"):
    assert (a, b, label, weight) == (flat(SIX.chunks[0]), None, 0, 0)


MANY = Traced(
  [np.random.default_rng(c).integers(1, 9, 8).tolist() for c in range(60)],
  documents=[c // 3 for c in range(60)],
)


def test_nsp_pairs_half_with_another_document():
  at_random = 0
  for c, a, b, label, weight in MANY.make(40, pair_objective="nsp"):
    assert weight == 1
    chunk = flat(MANY.chunks[c])
    assert a == chunk[: len(a)]
    other = MANY.chunk_of[b[0]]
    if label:
      assert MANY.documents[other] != MANY.documents[c]
      sentences = MANY.chunks[other][MANY.sentence_of[b[0]] : MANY.sentence_of[b[-1]] + 1]
      assert b == flat(sentences)  # whole sentences: a cut one would give the label away
    else:
      assert a + b == chunk
    at_random += label
  assert stats.binomtest(at_random, 60 * 40, 0.5).pvalue > RARE


def test_nsp_draws_every_other_chunk_equally_often():
  chunks = Traced([[5, 5]] * 21)
  others = [chunks.chunk_of[b[0]] for c, _, b, label, _ in chunks.make(200, pair_objective="nsp") if label]
  assert stats.chisquare(np.bincount(others, minlength=21)).pvalue > RARE


@pytest.fixture(scope="module")
def filled():
  """NSP examples of chunks filled with sentences until they hold 125 tokens, as preparation does it; some are short."""
  rng = np.random.default_rng(0)
  chunks = []
  for _ in range(1500):
    target, lengths = (125 if rng.random() < 0.8 else rng.integers(20, 125)), []
    while sum(lengths) < target:
      lengths.append(int(rng.integers(4, 25)))
    chunks.append(lengths)
  traced = Traced(chunks)
  return traced, [pair for pair in traced.make(2, pair_objective="nsp", max_length=128) if pair[2]]


def test_nsp_labels_do_not_show_in_lengths(filled):
  total, label = np.array([(len(a) + len(b), label) for _, a, b, label, _ in filled[1]]).T
  # What the best threshold on the length tells about the label; 1/2 is blind chance.
  hits = np.array([((total > t) == label).mean() for t in range(129)])
  assert max(hits.max(), 1 - hits.min()) < 0.6


def test_nsp_labels_do_not_show_in_cut_sentences(filled):
  traced, pairs = filled
  cut, count = np.zeros(2), np.zeros(2)
  for _, a, b, label, _ in pairs:
    count[label] += 2
    for segment in (a, b):
      sentences = traced.chunks[traced.chunk_of[segment[0]]]
      cut[label] += segment[-1] != sentences[traced.sentence_of[segment[-1]]][-1]
  true, at_random = cut / count
  assert abs(true - at_random) < 0.02
  assert 0.3 < true < 0.5  # of the full ones, the longer segment's end


def test_nsp_text_begins_at_any_sentence():
  chunks = Traced([[4, 4, 4, 4]] * 30)
  counts = np.zeros((4, 4), int)
  for _, _, b, label, _ in chunks.make(200, pair_objective="nsp"):
    if label:
      counts[len(b) // 4, chunks.sentence_of[b[0]]] += 1
  # B of one sentence may begin at 0 … 3, of two at 0 … 2, of three at 0 or 1.
  for sentences in (1, 2, 3):
    starts = 5 - sentences
    assert counts[sentences, starts:].sum() == 0
    assert stats.chisquare(counts[sentences, :starts]).pvalue > RARE


def test_nsp_prefers_text_that_is_long_enough():
  chunks = Traced([[2, 2], [20, 20, 20]] * 30)
  drawn = [len(b) >= 20 for c, _, b, label, _ in chunks.make(200, pair_objective="nsp") if c % 2 and label]
  # Too short: both of the first two candidates, and the one that is then taken as it comes.
  assert stats.binomtest(drawn.count(False), len(drawn), 0.5**3).pvalue > RARE


def test_nsp_in_one_document_keeps_true_pairs():
  lonely = Traced([[3, 2, 4]] * 5, documents=[7] * 5)
  for c, a, b, label, weight in lonely.make(20, pair_objective="nsp"):
    assert a + b == flat(lonely.chunks[c])
    assert (label, weight) == (0, 1)


def test_nsp_looks_further_when_a_candidate_is_of_the_same_document():
  # Half of the chunks are of document 0: one candidate would fail for it half of the time, four fail 1 in 16.
  half = Traced([[3, 2]] * 40, documents=[0] * 20 + list(range(1, 21)))
  labels = [label for c, _, _, label, _ in half.make(100, pair_objective="nsp") if c < 20]
  assert stats.binomtest(sum(labels), len(labels), 0.5 * (1 - 1 / 16)).pvalue > RARE


SINGLE = Traced([[7], [4], [3, 3], [2, 5, 2]] * 5)


@pytest.mark.parametrize("pair_objective", ["sop", "nsp"])
def test_one_sentence_has_no_pair(pair_objective):
  for c, a, b, label, weight in SINGLE.make(10, pair_objective=pair_objective):
    if len(SINGLE.chunks[c]) == 1:
      assert (a, b, label, weight) == (flat(SINGLE.chunks[c]), None, 0, 0)
    else:
      assert b
      assert weight == 1


@pytest.mark.parametrize("pair_objective", ["sop", "nsp"])
def test_quirk_one_sentence_is_paired_at_random(pair_objective):
  made = SINGLE.make(10, pair_objective=pair_objective, single_sentence_random_pair=True)
  for c, a, b, label, weight in made:
    if len(SINGLE.chunks[c]) == 1:
      assert a == flat(SINGLE.chunks[c])
      assert SINGLE.chunk_of[b[0]] != c
      assert (label, weight) == (1, 1)
    elif pair_objective == "sop":
      assert {SINGLE.chunk_of[t] for t in a + b} == {c}


def test_quirk_without_room_for_two_segments():
  tiny = Traced([[1], [1]] * 10)
  for _, a, b, _, weight in tiny.make(5, planned=4, single_sentence_random_pair=True):
    assert (len(a), b, weight) == (1, None, 0)


def test_planned_lengths_hold_for_random_pairs_too():
  for _, a, b, _, _ in MANY.make(5, planned=20, pair_objective="nsp"):
    assert len(a) + len(b) <= 17


def test_random_numbers_belong_to_the_row():
  whole = MANY.make(2, pair_objective="nsp")
  assert MANY.make(2, pair_objective="nsp") == whole
  assert MANY.make(2, pair_objective="nsp", seed=1) != whole
  later = MANY.make(2, pair_objective="nsp", first_row=1)
  assert later != whole


def test_slots_of_a_row_are_independent():
  settings = BatchSettings(max_length=64, packing=2)
  index = np.zeros((2000, 2), int)
  made = assemble(SIX.examples, np.zeros(1, bool), index, np.full((2000, 2), 19), 0, VOCABULARY, settings)
  labels = made.pair_labels.reshape(2000, 2)
  assert stats.binomtest(int((labels[:, 0] == labels[:, 1]).sum()), 2000, 0.5).pvalue > RARE


def test_empty_slots_are_left_out():
  settings = BatchSettings(max_length=64, packing=3)
  index = np.array([[4, -1, -1], [-1, -1, -1], [0, 9, -1]])
  made = assemble(
    MANY.examples, np.zeros(len(MANY.examples), bool), index, np.full(index.shape, 64), 0, VOCABULARY, settings
  )
  assert made.row.tolist() == [0, 2, 2]
  assert made.slot.tolist() == [0, 0, 1]
  lengths = [len(flat(MANY.chunks[c])) + 3 for c in (4, 0, 9)]
  assert made.lengths.tolist() == [min(n, 64) for n in lengths]
