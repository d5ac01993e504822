import math

import numpy as np
import pytest

from albert_jax.errors import InputError
from albert_jax.tasks.eval_metrics import check_scores, compute_scores

LABELS = np.array([1, 1, 1, 0, 0, 0, 0, 1])
GUESSES = np.array([1, 1, 0, 0, 0, 1, 0, 0])  # 2 true positives, 1 false positive, 2 false negatives, 3 true negatives


def test_classes_by_hand():
  scores = compute_scores(("accuracy", "f1", "matthews"), LABELS, GUESSES)
  assert scores["accuracy"] == 5 / 8
  assert scores["f1"] == pytest.approx(2 * 2 / (2 * 2 + 1 + 2))
  assert scores["matthews"] == pytest.approx((2 * 3 - 1 * 2) / math.sqrt((2 + 1) * (2 + 2) * (3 + 1) * (3 + 2)))
  three = compute_scores(("f1_macro",), np.array([0, 1, 2, 2]), np.array([0, 1, 1, 2]))
  assert three["f1_macro"] == pytest.approx((1 + 2 / 3 + 2 / 3) / 3)


def test_numbers_by_hand():
  labels, guesses = np.array([1.0, 2, 3, 4]), np.array([1.0, 3, 2, 10])
  scores = compute_scores(("pearson", "spearman"), labels, guesses)
  a, b = labels - labels.mean(), guesses - guesses.mean()
  assert scores["pearson"] == pytest.approx((a @ b) / math.sqrt((a @ a) * (b @ b)))
  assert scores["spearman"] == pytest.approx(1 - 6 * (0 + 1 + 1 + 0) / (4 * 15))
  assert all(type(value) is float for value in scores.values())


@pytest.mark.parametrize("guesses", [np.full(4, 2.5), np.full(4, 1e30), np.array([np.nan, 1, 2, 3])])
def test_no_relation_is_zero_and_not_nan(guesses, recwarn):
  assert compute_scores(("pearson", "spearman"), np.arange(4.0), guesses) == {"pearson": 0.0, "spearman": 0.0}
  assert compute_scores(("pearson",), np.ones(1), np.ones(1)) == {"pearson": 0.0}
  assert not recwarn.list


def test_one_class_only(recwarn):
  ones, zeros = np.ones(3, int), np.zeros(3, int)
  assert compute_scores(("matthews", "f1", "accuracy"), ones, zeros) == {"matthews": 0.0, "f1": 0.0, "accuracy": 0.0}
  assert not recwarn.list


@pytest.mark.parametrize(
  ("names", "classes", "message"),
  [
    (("acuracy",), 2, r'Unknown score in data\.metrics "acuracy"\. Did you mean "accuracy"'),
    (("pearson",), 2, "Known: accuracy, f1"),
    (("accuracy",), 0, "Known: pearson, spearman"),
    (("f1",), 3, "f1 is for two classes, and here are 3: take f1_macro"),
  ],
)
def test_mistakes_are_named(names, classes, message):
  with pytest.raises(InputError, match=message):
    check_scores(names, classes)
