"""A small set in the format of SQuAD, by rule: a question asks for a kind of word, which the passage has once."""

import json
from pathlib import Path

import numpy as np

from albert_jax.data.finetuning.samples import NAME
from albert_jax.data.random import Stream, below, draw_bits
from albert_jax.files import new_file

QUESTIONS = {"train": 640, "dev": 120}

# A question, the sentence that answers it, and the answers.
_FACTS = (
  ("how many boats ?", "there were {} boats .", ("two", "five", "seven", "ten")),
  ("what colour ?", "all were {} that day .", ("red", "green", "white", "light blue")),
  ("at which place ?", "they lay at the {} .", ("port", "beach", "river mouth", "lake")),
)
_FILLERS = ("it was cold .", "we went home .", "the sun came out .", "nobody spoke .")


def write_squad_sample(version: int, cache_dir: str) -> str:
  """Writes train and dev files of SQuAD 1.1 or 2.0; returns their folder.

  Version 2 leaves a sentence out of every passage, so that a third of the questions have no answer.
  """
  folder = Path(cache_dir) / NAME / f"squad{version}"
  for seed, (split, rows) in enumerate(QUESTIONS.items()):
    draws_RW = draw_bits(seed, Stream.PAIR, 0, rows, 10)
    paragraphs = [_paragraph(f"{split}{i}", draws, version) for i, draws in enumerate(draws_RW)]
    document = {"version": f"v{version}", "data": [{"title": "boats", "paragraphs": paragraphs}]}
    path = folder / f"{split}-v{('1.1', '2.0')[version - 1]}.json"
    with new_file(path) as temporary:
      temporary.write_text(json.dumps(document), encoding="utf-8")
  return str(folder)


def _paragraph(name: str, draws: np.ndarray, version: int) -> dict:
  """A passage of the facts and a few sentences more, in any order, and one question on it."""
  asked, left_out, fillers = (int(below(draws[i], bound)) for i, bound in enumerate((3, 3, len(_FILLERS) + 1)))
  sentences = list(_FILLERS[:fillers])
  answer = None
  for fact, (_, sentence, words) in enumerate(_FACTS):
    word = words[below(draws[3 + fact], len(words))]
    if version == 1 or fact != left_out:
      sentences.append(sentence.format(word))
      answer = word if fact == asked else answer
  order = np.argsort(draws[3:], kind="stable")
  context = " ".join(sentences[i] for i in order if i < len(sentences))
  answers = [] if answer is None else [{"text": answer, "answer_start": context.index(answer)}]
  question = {"id": name, "question": _FACTS[asked][0], "answers": answers, "is_impossible": answer is None}
  return {"context": context, "qas": [question]}
