"""Every file of a user's that is read: damage to any node of its JSON, and what is no file, end in the one exception.

Files of prepared sets, configs and tokenizers have tests of their own beside those of their readers.
"""

import contextlib
import dataclasses
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_collections
import numpy as np
import pytest
import safetensors.numpy

from albert_jax.config.python_file import call_in_file
from albert_jax.data.examples.metadata import read_metadata
from albert_jax.data.finetuning.race import RaceFiles
from albert_jax.data.finetuning.squad import read_squad
from albert_jax.data.finetuning.text_files import TextFiles
from albert_jax.data.text.file_formats import read_documents
from albert_jax.data.tokenizers.registry import load_tokenizer
from albert_jax.errors import InputError
from albert_jax.interop import fields
from albert_jax.interop.huggingface import read_huggingface
from albert_jax.interop.pretrained import is_huggingface
from albert_jax.interop.tensor_names import entries, param_specs
from albert_jax.plots.runs import read_run
from albert_jax.tasks.settings import RUNTIME, encoder_config
from albert_jax.training.log.metrics import Writer, records
from tests.fuzz import damaged_files

SIZES = {"vocab_size": 9, "hidden_size": 4, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 4}
SIZES |= {"max_position_embeddings": 8, "type_vocab_size": 2, "architectures": ["ForSequenceClassification"]}
SIZES |= {"id2label": {"0": "no", "1": "yes"}, "problem_type": None, "layer_norm_eps": 1e-12}
CONFIGS = {
  "bert": SIZES | {"model_type": "bert", "hidden_act": "gelu", "hidden_dropout_prob": 0.1, "classifier_dropout": None},
  "albert": SIZES | {"model_type": "albert", "embedding_size": 3, "num_hidden_groups": 2, "inner_group_num": 1},
}
ANSWER = {"text": "a", "answer_start": 0}
SQUAD = {"data": [{"paragraphs": [{"context": "a b", "qas": [{"id": "1", "question": "?", "answers": [ANSWER]}]}]}]}
SQUAD_2 = {"data": [{"paragraphs": [{"context": "a", "qas": [{"id": "1", "question": "?", "is_impossible": True}]}]}]}
RACE = {"article": "a", "questions": ["b _"], "options": [["c", "d", "e", "f"]], "answers": ["A"]}
ROWS = [{"text": "a", "label": "yes"}, {"text": "b", "label": "no"}, {"text": "c", "label": "no"}]
METRICS = [{"step": 1, "split": "train", "loss": 0.5}, {"step": 2, "split": "valid", "loss": None}]


def write_huggingface(folder: Path, family: str, *, sharded: bool = False) -> None:
  """A small classifier of zeros in Hugging Face's format."""
  model = fields.model_record(CONFIGS[family], "")
  config = encoder_config(ml_collections.ConfigDict(model | RUNTIME))
  specs = param_specs(config, ("pooler", "classifier"))
  tensors = {entry.name: np.zeros(entry.shape, np.float32) for entry in entries(family, specs)}
  (folder / "config.json").write_text(json.dumps(CONFIGS[family]))
  safetensors.numpy.save_file(tensors, folder / ("one.safetensors" if sharded else "model.safetensors"))
  if sharded:
    weight_map = dict.fromkeys(sorted(tensors), "one.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))


def write_race(folder: Path) -> None:
  for split in ("train", "dev"):
    (folder / split / "middle").mkdir(parents=True)
    (folder / split / "middle" / "1.txt").write_text(json.dumps(RACE))


def write_squad(folder: Path) -> None:
  for split in ("train", "dev"):
    (folder / f"{split}.json").write_text(json.dumps(SQUAD))


@dataclasses.dataclass(frozen=True)
class Case:
  """A JSON file and its reader.

  Attributes:
    file: its place in the folder.
    value: what it holds; of .jsonl, the rows.
    read: from the folder.
    prepare: makes the files beside it.
    each: strange values that take the place of each node.
  """

  file: str
  value: Any
  read: Callable[[Path], object]
  prepare: Callable[[Path], None] = lambda folder: None
  each: int = 17

  def damaged(self):
    """Contents of the file."""
    if not self.file.endswith(".jsonl"):
      yield from damaged_files(self.value, each=self.each)
      return
    rest = [json.dumps(row).encode() for row in self.value[1:]]
    for line in damaged_files(self.value[0]):
      yield b"\n".join([line, *rest])
    yield b"\xff"


CASES = {
  "bert": Case(
    "config.json", CONFIGS["bert"], lambda f: read_huggingface(str(f)), lambda f: write_huggingface(f, "bert"), 4
  ),
  "albert": Case(
    "config.json", CONFIGS["albert"], lambda f: read_huggingface(str(f)), lambda f: write_huggingface(f, "albert"), 4
  ),
  "kind of folder": Case("config.json", {"model": {}}, lambda f: is_huggingface(str(f))),
  "index": Case(
    "model.safetensors.index.json",
    {"weight_map": {"pooler.dense.bias": "one.safetensors"}},
    lambda f: read_huggingface(str(f)),
    lambda f: write_huggingface(f, "bert", sharded=True),
  ),
  "squad": Case("train.json", SQUAD, lambda f: read_squad(1, str(f)), write_squad),
  "squad 2": Case(
    "train-v2.json", SQUAD_2, lambda f: read_squad(2, "", str(f / "train-v2.json"), str(f / "train-v2.json"))
  ),
  "race": Case("dev/middle/1.txt", RACE, lambda f: RaceFiles(str(f)).read(), write_race),
  "labelled rows": Case("a.jsonl", ROWS, lambda f: TextFiles("a.jsonl", dir=str(f)).read()),
  "scores": Case(
    "a.jsonl",
    [{"text": "a", "label": 0.5}, {"text": "b", "label": 2}],
    lambda f: TextFiles("a.jsonl", dir=str(f), regression=True, valid_fraction=0.5).read(),
  ),
  "text": Case("a.jsonl", ROWS, lambda f: [*read_documents(str(f / "a.jsonl"), "text")]),
  "nested text": Case("a.jsonl", [{"a": {"b": "c"}}], lambda f: [*read_documents(str(f / "a.jsonl"), "a.b")]),
  "metrics": Case("metrics.jsonl", METRICS, lambda f: [*records(f / "metrics.jsonl")]),
  "prepared set": Case("metadata.json", {"source": {"spec": "pydoc"}}, read_metadata),
}


@pytest.mark.parametrize("name", CASES)
def test_no_damage_ends_in_a_traceback(tmp_path, name):
  case = CASES[name]
  case.prepare(tmp_path)
  file = tmp_path / case.file
  refused = []
  for content in case.damaged():
    file.write_bytes(content)
    try:
      case.read(tmp_path)
    except InputError as error:
      refused.append(str(error))
  assert len(refused) > 5
  assert not [message for message in refused if len(message) > 3000 or "\n" in message]


@contextlib.contextmanager
def within_seconds(seconds: int):
  """Ends what hangs."""

  def stop(*_):
    raise AssertionError("it hangs")  # TimeoutError would be one of the system's

  before = signal.signal(signal.SIGALRM, stop)
  signal.alarm(seconds)
  try:
    yield
  finally:
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


READERS = {name: (case.file, case.prepare, case.read) for name, case in CASES.items()}
READERS |= {
  "tensors": ("model.safetensors", lambda f: write_huggingface(f, "bert"), lambda f: read_huggingface(str(f))),
  "vocabulary": ("vocab.txt", lambda f: None, lambda f: load_tokenizer(str(f / "vocab.txt"))),
  "tokenizer folder": ("vocab.txt", lambda f: None, lambda f: load_tokenizer(str(f))),
  "tokenizer.json": ("tokenizer.json", lambda f: None, lambda f: load_tokenizer(str(f))),
  "table": ("a.tsv", lambda f: None, lambda f: TextFiles("a.tsv", dir=str(f)).read()),
  "plain text": ("a.txt.gz", lambda f: None, lambda f: [*read_documents(str(f / "a.txt.gz"), "text")]),
  "parquet": ("a.parquet", lambda f: None, lambda f: [*read_documents(str(f / "a.parquet"), "text")]),
  "config": ("a.py", lambda f: None, lambda f: call_in_file(str(f / "a.py"), "get_config", "config")),
  "log": ("metrics.jsonl", lambda f: None, lambda f: Writer(str(f), first_step=0)),
  "curves": ("config.json", lambda f: None, lambda f: read_run(str(f))),
}


@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
@pytest.mark.parametrize("name", READERS)
def test_what_is_no_file_is_refused_and_never_waited_for(tmp_path, name, kind):
  file, prepare, read = READERS[name]
  prepare(tmp_path)
  path = tmp_path / file
  path.parent.mkdir(parents=True, exist_ok=True)
  path.unlink(missing_ok=True)
  if kind == "pipe":
    os.mkfifo(path)
  elif kind == "device":
    path.symlink_to("/dev/zero")
  else:
    path.mkdir()
  with within_seconds(20), pytest.raises(InputError):
    read(tmp_path)
