"""Questions answered by a part of their context."""

from collections.abc import Mapping, Sequence
from typing import Any

from albert_jax.data.finetuning.squad import Question
from albert_jax.data.finetuning.windows import Windows, WindowSettings, make_windows
from albert_jax.data.tokenizers.base import Tokenizer
from albert_jax.predict.inference import Results
from albert_jax.predict.results import Answer
from albert_jax.tasks.squad_answers import AnswerSettings, find_answers


def lay_windows(
  questions: Sequence[str], contexts: Sequence[str], tokenizer: Tokenizer, data: Mapping[str, Any], max_length: int
) -> Windows:
  """Windows on the contexts, as in training where `data` is the record of a run for answering questions."""
  settings = WindowSettings(
    max_length,
    stride=data.get("stride") or WindowSettings.stride,
    max_question=data.get("max_question") or min(WindowSettings.max_question, max_length // 2),
  )
  asked = [Question("", question, context, ()) for question, context in zip(questions, contexts)]
  return make_windows(asked, tokenizer, settings)


def read_answers(
  windows: Windows, results: Results, settings: AnswerSettings, *, top: int, no_answer: bool
) -> list[list[Answer]]:
  """The `top` best answers to each question.

  Args:
    windows: Q questions in X windows.
    results: (start_logits_T, end_logits_T) of each window.
    settings: how answers are chosen.
    top: answers at most.
    no_answer: whether "" competes, with `settings.null_threshold` taken off its score.
  """
  starts, ends = zip(*results)
  found = []
  for answers in find_answers(windows, starts, ends, settings):
    ranked = answers.probabilities(with_null=no_answer)
    ranked.sort(key=lambda pair: (0.0 if pair[0].text else settings.null_threshold) - pair[0].score)
    found.append([Answer(c.text, probability, c.start, c.start + len(c.text)) for c, probability in ranked[:top]])
  return found
