"""Small sets by rule, in the official formats: a word decides the class, so that a tiny model learns it in seconds."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from albert_jax.data.finetuning.glue import GlueTask, glue_task
from albert_jax.data.finetuning.race import LETTERS
from albert_jax.data.random import Stream, below, draw_bits
from albert_jax.files import new_file

NAME = "sample"
ROWS = {"train": 640, "dev": 160, "test": 40}

_SUBJECTS = ("the film", "the book", "a song", "this play", "her story", "the show")
_VERBS = ("was", "seemed", "felt", "looked")
_TAILS = ("to me", "today", "at first", "in the end", "to everyone", "again")
# One list of words for each class; the levels of a regression, 0 to 5, are classes too.
_MARKS = (
  ("dull", "bad", "awful", "poor"),
  ("fine", "good", "lovely", "great"),
  ("odd", "strange", "unclear", "curious"),
  ("long", "slow", "endless", "lasting"),
  ("short", "quick", "brief", "fast"),
  ("loud", "noisy", "shrill", "blaring"),
)


def write_sample(kind: str, name: str, cache_dir: str) -> str:
  """Writes the sample of a source (`glue` and a task, `race`, `text_files`); returns its folder."""
  folder = Path(cache_dir) / NAME / kind
  if kind == "glue":
    task = glue_task(name)
    _write_glue(task, folder / task.folder)
  elif kind == "race":
    _write_race(folder)
  else:
    for split, rows in ROWS.items():
      lines = [f"{text}\t{('bad', 'good')[mark]}\t{mark}" for text, mark in _sentences(split, rows, 2)]
      _write(folder / f"{split}.tsv", ["text\tlabel\tscore", *lines])
  return str(folder)


def _sentences(split: str, rows: int, classes: int) -> Iterator[tuple[str, int]]:
  """Sentences and the class that a word of each gives away."""
  seed = list(ROWS).index(split)
  parts = (_SUBJECTS, _VERBS, _MARKS[0], _TAILS)
  draws_RW = draw_bits(seed, Stream.PAIR, 0, rows, 5)
  marks = below(draws_RW[:, 4], classes)
  places_RW = np.stack([below(draws_RW[:, i], len(words)) for i, words in enumerate(parts)], axis=1)
  for (subject, verb, word, tail), mark in zip(places_RW.tolist(), marks.tolist()):
    yield f"{_SUBJECTS[subject]} {_VERBS[verb]} {_MARKS[mark][word]} {_TAILS[tail]}", mark


def _write_glue(task: GlueTask, folder: Path) -> None:
  labels = task.labels or tuple(f"{level}.0" for level in range(6))
  stems = {"train": ("train",), "dev": [stem for _, stem in task.dev], "test": [stem for _, stem in task.test]}
  for split, rows in ROWS.items():
    labelled = split != "test"
    columns = [*task.texts, task.label] if labelled else ["index", *task.texts]
    lines = []
    for index, (text, mark) in enumerate(_sentences(split, rows, len(labels))):
      texts = (text,) if len(task.texts) == 1 else (f"{_SUBJECTS[index % 6]} came up", text)
      fields = {**dict(zip(task.texts, texts)), task.label: labels[mark], "index": str(index)}
      if labelled and task.header:
        columns = list(task.header)
      lines.append("\t".join(fields.get(column, "") for column in columns))
    heading = [] if labelled and task.header else ["\t".join(columns)]
    for stem in stems[split]:
      _write(folder / f"{stem}.tsv", [*heading, *lines])


def _write_race(folder: Path) -> None:
  for split, rows in ROWS.items():
    for index, (text, mark) in enumerate(_sentences(split, rows // 4, len(LETTERS))):
      # The right answer is the one that has a word of the class 1.
      options = [f"it was {_MARKS[int(place == mark)][index % 4]}" for place in range(len(LETTERS))]
      question = "What was said of it ?" if index % 2 else "They said that _ ."
      record = dict(
        id=f"middle{index}.txt", article=f"{text} .", questions=[question], options=[options], answers=[LETTERS[mark]]
      )
      _write(folder / split / ("middle", "high")[index % 2] / f"{index}.txt", [json.dumps(record)])


def _write(path: Path, lines: Sequence[str]) -> None:
  with new_file(path) as temporary:
    temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
