"""From the logits of every window to the answer to every question (arXiv 1810.04805, §4.2 and §4.3)."""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from albert_jax.data.finetuning.windows import Windows
from albert_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class AnswerSettings:
  """How answers are chosen.

  Attributes:
    n_best: candidates that are kept for a question.
    max_answer: tokens of an answer at most.
    null_threshold: in SQuAD 2.0, there is no answer where [CLS] outscores the best span by more than this.
  """

  n_best: int = 20
  max_answer: int = 30
  null_threshold: float = 0.0

  def __post_init__(self):
    if self.n_best < 1 or self.max_answer < 1:
      raise InputError(f"data.n_best {self.n_best} and data.max_answer {self.max_answer} must be at least 1.")


@dataclasses.dataclass(frozen=True)
class Candidate:
  """A possible answer: a part of the passage, or "" for none, with the logits of its ends and its first character."""

  text: str
  start_logit: float
  end_logit: float
  start: int = 0

  @property
  def score(self) -> float:
    """The sum of the logits: the logarithm of the joint probability, up to a constant."""
    return self.start_logit + self.end_logit


@dataclasses.dataclass(frozen=True)
class Answers:
  """A model's answers to a question.

  Attributes:
    candidates: parts of the passage, the best first; texts are different.
    null: the score of "no answer", the lowest over the windows.
  """

  candidates: list[Candidate]
  null: Candidate

  @property
  def best(self) -> Candidate:
    """The best part of the passage; no answer, if the passage is empty."""
    return self.candidates[0] if self.candidates else self.null

  @property
  def null_odds(self) -> float:
    """How much likelier no answer is than the best part of the passage, as a difference of scores."""
    return self.null.score - self.best.score

  def probabilities(self, *, with_null: bool) -> list[tuple[Candidate, float]]:
    """All candidates, "no answer" among them or not, and a softmax over their scores; the best first."""
    candidates = self.candidates + [self.null] * (with_null or not self.candidates)
    candidates.sort(key=lambda candidate: -candidate.score)
    weights = np.exp([candidate.score - candidates[0].score for candidate in candidates])
    return list(zip(candidates, (weights / weights.sum()).tolist()))


def find_answers(
  windows: Windows, start_logits: Sequence[np.ndarray], end_logits: Sequence[np.ndarray], settings: AnswerSettings
) -> list[Answers]:
  """The answers to all questions.

  A span must lie in one window and start at a token that has its most context there. All such spans are compared, not
  just those between the best starts and the best ends. Texts are cut out of the passage as it was written.

  Args:
    windows: Q questions in X windows.
    start_logits: one array [T] for each window.
    end_logits: the same.
    settings: how answers are chosen.
  """
  answers = []
  for question in range(len(windows.questions)):
    numbers = windows.of(question)
    found: list[Candidate] = []
    for window, allowed in zip(numbers, windows.has_most_context(question)):
      found += _candidates(windows, window, allowed, start_logits[window], end_logits[window], settings)
    nulls = [Candidate("", float(start_logits[w][0]), float(end_logits[w][0])) for w in numbers]
    answers.append(Answers(_best(found, settings.n_best), min(nulls, key=lambda null: null.score)))
  return answers


def _best(candidates: list[Candidate], number: int) -> list[Candidate]:
  """The best candidates, the best first, each text once."""
  by_text: dict[str, Candidate] = {}
  for candidate in sorted(candidates, key=lambda candidate: -candidate.score):
    by_text.setdefault(candidate.text, candidate)
  return list(by_text.values())[:number]


def _candidates(
  windows: Windows,
  window: int,
  allowed_S: np.ndarray,
  start_T: np.ndarray,
  end_T: np.ndarray,
  settings: AnswerSettings,
) -> Iterator[Candidate]:
  """The best spans of a window; `allowed_S` are the tokens that one may start at."""
  here = windows.passage_slice(window)
  start_S, end_S = start_T[here].astype(np.float64), end_T[here].astype(np.float64)
  first = int(windows.sequences.starts_X2[window, 1])
  characters = windows.characters[first : first + len(start_S)]
  context = windows.questions[windows.question_X[window]].context
  for i, j in _best_spans(np.where(allowed_S, start_S, -np.inf), end_S, settings.max_answer, settings.n_best):
    part = context[characters[i, 0] : characters[j, 1]].rstrip()
    if text := part.lstrip():
      yield Candidate(text, float(start_S[i]), float(end_S[j]), int(characters[i, 0]) + len(part) - len(text))


def _best_spans(start_S: np.ndarray, end_S: np.ndarray, longest: int, number: int) -> list[tuple[int, int]]:
  """First and last tokens of the spans of the greatest sums, in no order."""
  if not len(start_S):
    return []
  ends_SL = np.lib.stride_tricks.sliding_window_view(np.append(end_S, np.full(longest - 1, -np.inf)), longest)
  scores = (start_S[:, None] + ends_SL).ravel()
  worst = max(0, len(scores) - number)
  best = np.argpartition(scores, worst)[worst:]
  first, more = np.divmod(best[scores[best] > -np.inf], longest)
  return list(zip(first.tolist(), (first + more).tolist()))
