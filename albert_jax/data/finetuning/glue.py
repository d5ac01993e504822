"""The nine tasks of GLUE (arXiv 1804.07461), from the official files or from TFDS."""

import dataclasses
from pathlib import Path

import numpy as np

from albert_jax.data.finetuning.tables import find_labels, find_scores, read_table
from albert_jax.data.finetuning.tfds import read_tfds_split
from albert_jax.data.finetuning.types import LabelledTexts, Reader, Splits
from albert_jax.errors import InputError, unknown

Columns = tuple[str, ...]
_BINARY = ("0", "1")
_ENTAILMENT = ("entailment", "not_entailment")
_COLA_HEADER = ("source", "label", "mark", "sentence")


@dataclasses.dataclass(frozen=True)
class GlueTask:
  """One task of GLUE.

  Attributes:
    folder: its name in the official folder, and in the names of files to submit.
    texts: the columns of segments A and, in tasks of pairs, B.
    labels: what classes are called in the files, in the order of TFDS; none for the regression of STS-B.
    metrics: the official scores.
    label: the column of labels.
    header: all columns of train and dev, where the files do not begin with them.
    skip_short: the official file has rows that lack values.
    dev, test: stems of the files, by split.
    alternatives: other names of a file.
    tfds_texts: the columns in TFDS, where they are called otherwise.
  """

  folder: str
  texts: Columns
  labels: Columns
  metrics: Columns = ("accuracy",)
  label: str = "label"
  header: Columns | None = None
  skip_short: bool = False
  dev: tuple[tuple[str, str], ...] = (("valid", "dev"),)
  test: tuple[tuple[str, str], ...] = (("test", "test"),)
  alternatives: tuple[tuple[str, str], ...] = ()
  tfds_texts: Columns | None = None


_SENTENCES = ("sentence1", "sentence2")
_MRPC_FILES = (("train", "msr_paraphrase_train.txt"), ("dev", "msr_paraphrase_test.txt"))
GLUE = {
  "cola": GlueTask("CoLA", ("sentence",), _BINARY, ("matthews",), header=_COLA_HEADER),
  "sst2": GlueTask("SST-2", ("sentence",), _BINARY),
  "mrpc": GlueTask(
    "MRPC",
    ("#1 String", "#2 String"),
    _BINARY,
    ("accuracy", "f1"),
    "Quality",
    alternatives=_MRPC_FILES,
    tfds_texts=_SENTENCES,
  ),
  "stsb": GlueTask("STS-B", _SENTENCES, (), ("pearson", "spearman"), "score"),
  "qqp": GlueTask("QQP", ("question1", "question2"), _BINARY, ("accuracy", "f1"), "is_duplicate", skip_short=True),
  "mnli": GlueTask(
    "MNLI",
    _SENTENCES,
    ("entailment", "neutral", "contradiction"),
    label="gold_label",
    dev=(("valid_matched", "dev_matched"), ("valid_mismatched", "dev_mismatched")),
    test=(("test_matched", "test_matched"), ("test_mismatched", "test_mismatched")),
    tfds_texts=("premise", "hypothesis"),
  ),
  "qnli": GlueTask("QNLI", ("question", "sentence"), _ENTAILMENT),
  "rte": GlueTask("RTE", _SENTENCES, _ENTAILMENT),
  "wnli": GlueTask("WNLI", _SENTENCES, _BINARY),
}


def glue_task(name: str) -> GlueTask:
  """The task of that name.

  Raises:
    InputError: GLUE has no such task.
  """
  if name not in GLUE:
    raise unknown("GLUE task", name, GLUE)
  return GLUE[name]


@dataclasses.dataclass(frozen=True)
class GlueFiles(Reader):
  """A task of GLUE on disk.

  Attributes:
    name: a key of `GLUE`.
    dir: holds the official folders (`SST-2/train.tsv`, …), or is one of them; "" = TFDS `glue/NAME`.
  """

  name: str
  dir: str = ""

  limits = (0.0, 5.0)  # of STS-B

  def find_labels(self) -> tuple[str, ...]:
    """The names of the classes in the files."""
    return glue_task(self.name).labels

  def read(self) -> Splits:
    """Reads the task; its splits are `train`, `valid` and `test` (of MNLI, `valid_matched` …).

    Raises:
      InputError: files are missing or damaged, or TFDS cannot be reached.
    """
    task = glue_task(self.name)
    return _read_folder(task, _find_folder(task, Path(self.dir))) if self.dir else _read_tfds(self.name, task)

  def file_name(self, split: str) -> str:
    """The name that GLUE's site asks for, of test splits; no two tasks share one, so that one folder holds all."""
    task = glue_task(self.name)
    if split not in dict(task.test):
      return f"{task.folder}-{split}.tsv"
    if len(task.test) == 1:
      return f"{task.folder}.tsv"
    return f"{task.folder}-{'mm' if 'mismatched' in split else 'm'}.tsv"


def _read_folder(task: GlueTask, folder: Path) -> Splits:
  return Splits(
    _read_file(task, _find_file(task, folder, "train")),
    {split: _read_file(task, _find_file(task, folder, stem)) for split, stem in task.dev},
    {
      split: _read_file(task, folder / f"{stem}.tsv", labelled=False)
      for split, stem in task.test
      if (folder / f"{stem}.tsv").exists()
    },
  )


def _find_folder(task: GlueTask, directory: Path) -> Path:
  for folder in (directory / task.folder, directory):
    if any((folder / name).is_file() for name in ("train.tsv", *dict(task.alternatives).values())):
      return folder
  raise InputError(
    f"{directory} holds no {task.folder}/train.tsv: --config.data.dir must name the folder into which GLUE was "
    f"unpacked, or {task.folder} itself."
  )


def _find_file(task: GlueTask, folder: Path, stem: str) -> Path:
  path = folder / f"{stem}.tsv"
  other = folder / dict(task.alternatives).get(stem, path.name)
  return other if other.exists() and not path.exists() else path


def _read_file(task: GlueTask, path: Path, *, labelled: bool = True) -> LabelledTexts:
  columns = (*task.texts, task.label) if labelled else task.texts
  header = task.header if labelled else None  # every official test.tsv has one
  table = read_table(path, columns, header=header, skip_short=labelled and task.skip_short)
  labels = None
  if labelled:
    labels = find_labels(table, task.label, task.labels) if task.labels else find_scores(table, task.label)
  texts = [table.columns[column] for column in task.texts]
  return LabelledTexts(texts[0], texts[1] if len(texts) == 2 else None, labels)


def _read_tfds(name: str, task: GlueTask) -> Splits:
  def read(split: str, labelled: bool = True) -> LabelledTexts:
    columns = task.tfds_texts or task.texts
    found = read_tfds_split(f"glue/{name}", split, (*columns, "label"))
    texts = [[text.decode() for text in found[column]] for column in columns]
    labels = np.array(found["label"], np.int32 if task.labels else np.float32) if labelled else None
    return LabelledTexts(texts[0], texts[1] if len(texts) == 2 else None, labels)

  return Splits(
    read("train"),
    {split: read(stem.replace("dev", "validation")) for split, stem in task.dev},
    {split: read(stem, labelled=False) for split, stem in task.test},
  )
