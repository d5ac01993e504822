"""Scores worked out by hand from the rules of evaluate-v1.1.py and evaluate-v2.0.py."""

import pytest

from albert_jax.tasks.squad_scores import exact_match, f1, normalise_answer, squad1_scores, squad2_scores


@pytest.mark.parametrize(
  ("text", "expected"),
  [
    ("The  Denver\tBroncos!", "denver broncos"),
    ("U.S.A.", "usa"),  # punctuation goes without leaving a space
    ("well-known", "wellknown"),
    ("an apple a day, the end", "apple day end"),
    ("theatre another area", "theatre another area"),  # articles are whole words
    ("the-a", "thea"),  # punctuation goes before articles do
    ("“the” – Ünion", "“ ” – ünion"),  # only ASCII punctuation goes, but other marks bound words
    ("The", ""),
    ("", ""),
  ],
)
def test_normalising(text, expected):
  assert normalise_answer(text) == expected


@pytest.mark.parametrize(
  ("prediction", "answer", "exact", "expected"),
  [
    ("the Broncos", "Broncos.", 1, 1),
    ("Denver Broncos", "Broncos", 0, 2 / 3),  # precision 1/2, recall 1
    ("a b c d", "b c e", 0, 2 * (2 / 3) * (2 / 3) / (4 / 3)),  # "a" is an article: 2 of 3 and 2 of 3
    ("to be to", "to to or not", 0, 2 * (2 / 3) * (2 / 4) / (2 / 3 + 2 / 4)),  # "to" counts twice, as in both
    ("to be", "to to", 0, 1 / 2),  # and once where one has it once
    ("café", "cafe", 0, 0),
    ("7,000", "7000", 1, 1),
  ],
)
def test_one_answer(prediction, answer, exact, expected):
  assert exact_match(prediction, answer) == exact
  for empty_matches in (False, True):
    assert f1(prediction, answer, empty_matches=empty_matches) == pytest.approx(expected, abs=1e-12)


def test_texts_without_words():
  # 1.1 finds no common word; 2.0 compares the lists of words.
  assert (f1("the", "", empty_matches=False), f1("the", "", empty_matches=True)) == (0, 1)
  assert (f1("x", "", empty_matches=True), f1("", "x", empty_matches=True)) == (0, 0)
  assert exact_match("the", "") == 1


def test_squad1_takes_the_best_of_several_answers():
  scores = squad1_scores(["the port of Rome", "ten"], [["Rome", "port", "Port of Rome!"], ["two boats", "ten boats"]])
  assert scores == pytest.approx({"exact_match": 50.0, "f1": 100 * (1 + 2 / 3) / 2})


TEXTS = ["Rome", "ten boats", "red", "lake"]
ODDS = [-3.0, 1.0, -1.0, 2.0]
GOLDS = [["Rome"], ["ten"], [], []]


def test_squad2_by_hand():
  scores = squad2_scores(TEXTS, ODDS, 0.0, GOLDS)
  # Predictions are Rome (right), none (wrong), red (wrong), none (right).
  assert scores["exact"] == scores["f1"] == 50
  assert (scores["HasAns_exact"], scores["HasAns_f1"]) == (50, 50)
  assert (scores["NoAns_exact"], scores["NoAns_f1"]) == (50, 50)
  # Answering none is right twice; answering Rome adds 1, red takes 1 away, "ten boats" adds no match but F1 of 2/3.
  assert (scores["best_exact"], scores["best_exact_thresh"]) == (75, -3.0)
  assert (scores["best_f1"], scores["best_f1_thresh"]) == (75, -3.0)


def test_squad2_threshold_is_what_may_just_be_answered():
  assert squad2_scores(TEXTS, ODDS, -1.0, GOLDS)["exact"] == 50
  assert squad2_scores(TEXTS, ODDS, -1.1, GOLDS)["exact"] == 75
  best = squad2_scores(TEXTS, ODDS, 0.0, GOLDS)["best_exact_thresh"]
  assert squad2_scores(TEXTS, ODDS, best, GOLDS)["exact"] == 75


def test_squad2_equal_odds_are_answered_together():
  # One after the other, as the official script does, would promise 100% at a threshold of 0.
  scores = squad2_scores(["Rome", "red"], [0.0, 0.0], 0.0, [["Rome"], []])
  assert (scores["best_exact"], scores["exact"]) == (50, 50)


def test_squad2_where_silence_is_best():
  scores = squad2_scores(["red", "Rome"], [0.5, 1.5], 5.0, [[], []])
  assert (scores["exact"], scores["best_exact"]) == (0, 100)
  assert squad2_scores(["red", "Rome"], [0.5, 1.5], scores["best_exact_thresh"], [[], []])["exact"] == 100
  assert "HasAns_exact" not in scores


def test_squad2_answers_without_words_count_as_none():
  scores = squad2_scores(["Rome"], [1.0], 0.0, [["the", "..."]])
  assert (scores["exact"], scores["HasAns_exact"]) == (100, 100)
