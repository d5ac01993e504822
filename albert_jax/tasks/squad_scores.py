"""Exact match and F1 as the official scripts of SQuAD 1.1 and 2.0 count them, in percent."""

import collections
import re
import string
from collections.abc import Sequence

import numpy as np

Scores = dict[str, float]

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(a|an|the)\b")


def normalise_answer(text: str) -> str:
  """Lower case, without ASCII punctuation, English articles and superfluous white space."""
  return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact_match(prediction: str, answer: str) -> float:
  """1 where both are the same once normalised, else 0."""
  return float(normalise_answer(prediction) == normalise_answer(answer))


def f1(prediction: str, answer: str, *, empty_matches: bool) -> float:
  """Harmonic mean of precision and recall over words, repeated ones counted as often as they occur.

  Args:
    prediction: any text.
    answer: the same.
    empty_matches: of two texts that hold no words: 1, as in SQuAD 2.0, or 0, as in 1.1.
  """
  predicted, true = (collections.Counter(normalise_answer(text).split()) for text in (prediction, answer))
  if empty_matches and not (predicted and true):
    return float(predicted == true)
  common = (predicted & true).total()
  return 2 * common / (predicted.total() + true.total()) if common else 0.0


def squad1_scores(predictions: Sequence[str], answers: Sequence[Sequence[str]]) -> Scores:
  """`exact_match` and `f1`: means over the questions of the best score that any of its answers gives.

  Args:
    predictions: the answer given to each question.
    answers: what people answered, at least one for each question.
  """
  exact = [max(exact_match(p, a) for a in golds) for p, golds in zip(predictions, answers)]
  words = [max(f1(p, a, empty_matches=False) for a in golds) for p, golds in zip(predictions, answers)]
  return {"exact_match": _percent(exact), "f1": _percent(words)}


def squad2_scores(
  texts: Sequence[str], null_odds: Sequence[float], threshold: float, answers: Sequence[Sequence[str]]
) -> Scores:
  """Scores where some questions have no answer.

  Args:
    texts: the best answer to each question, even where the prediction is that there is none.
    null_odds: how much likelier it is that there is no answer.
    threshold: above it the prediction is that there is none.
    answers: what people answered; none for a question that has no answer.

  Returns:
    `exact` and `f1`; the same over questions with an answer (HasAns_…) and without (NoAns_…), where there are any; and
    `best_exact`, `best_f1`, which the best thresholds `best_exact_thresh`, `best_f1_thresh` would give.
  """
  odds, has_answer = np.asarray(null_odds), np.array([bool(golds) for golds in answers])
  golds = [[a for a in golds if normalise_answer(a)] or [""] for golds in answers]
  scores: Scores = {}
  for name, score in ("exact", exact_match), ("f1", lambda p, a: f1(p, a, empty_matches=True)):
    answered, silent = (
      np.array([max(score(p, a) for a in alternatives) for p, alternatives in zip(predictions, golds)])
      for predictions in (texts, [""] * len(texts))
    )
    chosen = np.where(odds > threshold, silent, answered)
    scores[name] = _percent(chosen)
    for group, members in ("HasAns", has_answer), ("NoAns", ~has_answer):
      if members.any():
        scores[f"{group}_{name}"] = _percent(chosen[members])
    scores[f"best_{name}"], scores[f"best_{name}_thresh"] = _best_threshold(answered, silent, odds)
  return scores


def _best_threshold(answered: np.ndarray, silent: np.ndarray, odds: np.ndarray) -> tuple[float, float]:
  """The best mean that a threshold can give, and the least such threshold among the odds (or just below them all)."""
  order = np.argsort(odds, kind="stable")
  below = odds[order]
  sums = silent.sum() + np.append(0.0, np.cumsum((answered - silent)[order]))  # the first i questions are answered
  possible = np.append(below[1:] > below[:-1], True)  # equal odds are answered together or not at all
  thresholds = np.append(np.nextafter(below[0], -np.inf), below[possible])
  sums = sums[np.append(True, possible)]
  best = int(np.argmax(sums))
  return 100.0 * float(sums[best]) / len(odds), float(thresholds[best])


def _percent(scores: Sequence[float] | np.ndarray) -> float:
  return 100.0 * float(np.mean(scores))
