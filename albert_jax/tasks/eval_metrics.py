"""Scores of predicted classes and numbers, by name; higher is better."""

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from albert_jax.errors import InputError, unknown

Score = Callable[[np.ndarray, np.ndarray], float]


# scipy and sklearn take a second to import, so it happens where a score is computed.


def _correlation(name: str) -> Score:
  def score(labels: np.ndarray, predictions: np.ndarray) -> float:
    from scipy import stats

    # Undefined where one side is constant, as predictions may be early in training. 0.0 then says "no relation", and
    # unlike NaN can be logged, averaged over seeds and compared by early stopping.
    with warnings.catch_warnings():
      warnings.simplefilter("ignore")
      value = float(getattr(stats, name)(labels, predictions).statistic) if len(labels) > 1 else 0.0
    return value if math.isfinite(value) else 0.0

  return score


def _of_classes(name: str, **options: Any) -> Score:
  def score(labels: np.ndarray, predictions: np.ndarray) -> float:
    from sklearn import metrics

    return getattr(metrics, name)(labels, predictions, **options)

  return score


# Of classes, labels and predictions being numbers of classes. `f1` is that of class 1 in a task of two classes.
CLASS_SCORES: dict[str, Score] = {
  "accuracy": _of_classes("accuracy_score"),
  "f1": _of_classes("f1_score", zero_division=0.0),
  "f1_macro": _of_classes("f1_score", average="macro", zero_division=0.0),
  "matthews": _of_classes("matthews_corrcoef"),
}
# Of numbers.
NUMBER_SCORES: dict[str, Score] = {
  "pearson": _correlation("pearsonr"),
  "spearman": _correlation("spearmanr"),
}


def check_scores(names: Sequence[str], classes: int) -> None:
  """Checks the names of scores.

  Args:
    names: of `CLASS_SCORES` or `NUMBER_SCORES`.
    classes: 0 = numbers are predicted.

  Raises:
    InputError: a name is unknown, or does not fit the number of classes.
  """
  for name in names:
    if name not in (CLASS_SCORES if classes else NUMBER_SCORES):
      raise unknown("score in data.metrics", name, CLASS_SCORES if classes else NUMBER_SCORES)
    if name == "f1" and classes != 2:
      raise InputError(f"The score f1 is for two classes, and here are {classes}: take f1_macro in data.metrics.")


def compute_scores(names: Sequence[str], labels: np.ndarray, predictions: np.ndarray) -> dict[str, float]:
  """The named scores of predictions [n] for labels [n]."""
  return {name: float((CLASS_SCORES | NUMBER_SCORES)[name](labels, predictions)) for name in names}
