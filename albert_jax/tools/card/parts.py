"""What is measured in a few minutes on one card, part by part, most valuable first."""

import dataclasses
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_collections
import numpy as np

from albert_jax.config import load_config
from albert_jax.config.python_file import call_in_file
from albert_jax.errors import InputError
from albert_jax.tools.benchmarking import job as jobs
from albert_jax.tools.benchmarking.job import OURS, Job
from albert_jax.tools.benchmarking.timing import percentiles
from albert_jax.tools.benchmarking.weights import check_gates

ROOT = Path(__file__).parents[3]
PEER = "transformers_compiled"

Found = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Part:
  """One part.

  Attributes:
    name: of its row in the report.
    seconds: after which it is ended.
    measure: does it; `small` rehearses it with a tiny model.
  """

  name: str
  seconds: int
  measure: Callable[[bool], Found]


@dataclasses.dataclass(frozen=True)
class Speed:
  """Steps of one config.

  Attributes:
    config: name of a file of `configs/`.
    length: T.
    rows: of a batch; halved where they do not fit.
    peer: whether transformers, by `torch.compile`, takes the same batches beside it.
    packed: rows of realistic lengths, several examples in each, instead of full ones.
    dropout: the config's own; else none, which lets the attention be fused.
  """

  config: str
  length: int
  rows: int
  peer: bool = False
  packed: bool = False
  dropout: bool = False

  def __call__(self, small: bool) -> Found:
    """Times them."""
    rows = 4 if small else self.rows
    while True:
      try:
        return self._measure(small, rows)
      except InputError as error:
        if rows == 1 or "RESOURCE_EXHAUSTED" not in str(error):
          raise
        rows //= 2

  def _measure(self, small: bool, rows: int) -> Found:
    config = _config(self.config, small)
    config.train.update(batch_size=rows, microbatches=1)
    config.data.update(max_length=32 if small else self.length, packing=8 if self.packed else 1)
    if not self.dropout:
      config.model.update(dropout=0.0, attention_dropout=0.0)
    lengths = "realistic" if self.packed else "full"
    with tempfile.TemporaryDirectory(prefix="albert_jax_card_") as folder:
      job = Job(OURS, "prepare", config, folder, steps=3 if small else 20, warmup=2 if small else 5, lengths=lengths)
      facts = jobs.run(job, _say)
      found = {"rows": rows, "length": facts["length"], "fill": facts["fill"], "params": facts["params"]}
      found["ours"] = _speed(_do(job, "time"), facts)
      if self.peer:
        try:
          found |= _race(job, facts, found["ours"])
        except InputError as error:  # such as: it is not installed; our own figures stand
          found["peer_error"] = str(error)
    return found


def agreement(small: bool) -> Found:
  """Loss and gradient of a step against those of this machine's CPU, float32."""
  config = _config("bert_mini", small)
  config.train.update(batch_size=4)
  with tempfile.TemporaryDirectory(prefix="albert_jax_card_") as folder:
    job = Job(OURS, "prepare", config, folder)
    jobs.run(job, _say)
    _do(job, "gate")
    card = job.gradient_file.rename(job.path / "card.safetensors")
    shutil.rmtree(job.path / "model")
    _do(dataclasses.replace(job, devices=1), "gate")
    return check_gates(card, job.gradient_file, "the CPU")


def resume(small: bool) -> Found:
  """A run with `train.deterministic`, and the same resumed half-way: every parameter and moment, to the bit."""
  del small  # it is small
  with tempfile.TemporaryDirectory(prefix="albert_jax_card_") as folder:
    whole, resumed = Path(folder, "whole"), Path(folder, "resumed")
    _train(whole)
    shutil.copytree(whole, resumed)
    for path in resumed.glob("checkpoints/8*"):
      shutil.rmtree(path) if path.is_dir() else path.unlink()
    _train(resumed)
    expected, found = (_leaves(workdir, 8) for workdir in (whole, resumed))
    different = [path for path in expected if not np.array_equal(expected[path], found[path])]
  return {"arrays": len(expected), "different": different}


PARTS = (
  Part("agreement with the CPU", 90, agreement),
  Part("BERT-base, 512", 150, Speed("bert_base", 512, 128, peer=True)),
  Part("ALBERT-base, 512", 60, Speed("albert_base", 512, 128)),
  Part("BERT-base, 128", 60, Speed("bert_base", 128, 512)),
  Part("ALBERT-xxlarge, 512", 75, Speed("albert_xxlarge", 512, 8)),
  Part("BERT-large, 512", 75, Speed("bert_large", 512, 32)),
  Part("BERT-base, 512, dropout 0.1", 60, Speed("bert_base", 512, 64, dropout=True)),
  Part("resume, deterministic", 75, resume),
  Part("BERT-base, 512, packed", 120, Speed("bert_base", 512, 64, peer=True, packed=True)),
  Part("ALBERT-base, 128", 60, Speed("albert_base", 128, 512)),
  Part("BERT-large, 128", 60, Speed("bert_large", 128, 128)),
)


def _config(name: str, small: bool) -> ml_collections.ConfigDict:
  config = call_in_file(str(ROOT / "configs" / f"{name}.py"), "get_config", "test" if small else "")
  return config.copy_and_resolve_references()


def _do(job: Job, action: str) -> Found:
  return jobs.run(dataclasses.replace(job, action=action), _say)


def _say(line: str) -> None:
  print(line, file=sys.stderr, flush=True)


def _speed(run: Found, facts: Found) -> Found:
  seconds = np.array(run["seconds"])
  steps = percentiles(seconds)
  flops = run["positions"] * len(seconds) / seconds.sum() * facts["flops_per_token"]
  peak = run.get("peak_flops")
  return {
    "tokens_per_second": run["tokens"] / seconds.sum(),
    "p50_seconds": steps["p50"],
    "p95_seconds": steps["p95"],
    "model_flops_per_second": flops,
    "mfu": flops / peak if peak else None,
    "compile_seconds": run.get("compile_seconds"),
    "memory": run["memory"],
    "device": run["device"],
    "versions": run["versions"],
  }


def _race(job: Job, facts: Found, ours: Found) -> Found:
  """The peer on the same batches, once its gradient has been found to be ours."""
  peer = dataclasses.replace(job, contender=PEER)
  _do(job, "gate")
  _do(peer, "gate")
  gate = check_gates(job.gradient_file, peer.gradient_file, PEER)
  speed = _speed(_do(peer, "time"), facts)
  return {"gate": gate, "peer": speed, "ratio": ours["tokens_per_second"] / speed["tokens_per_second"]}


def _train(workdir: Path) -> None:
  command = [
    sys.executable, "train.py", "--config=configs/bert_mini.py:test", f"--workdir={workdir}",
    "--config.data.source=pydoc:optax",
    f"--config.data.cache_dir={workdir.parent / 'cache'}", "--config.data.tokenizer=train:sentencepiece:600",
    "--config.model.vocab_size=600", "--config.train.steps=8", "--config.checkpoint.every=4",
    "--config.checkpoint.keep=2", "--config.train.deterministic=True",
  ]  # fmt: skip
  done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
  if done.returncode:
    raise InputError(f"train.py ended with {done.returncode}: {done.stderr[-500:]}")


def _leaves(workdir: Path, step: int) -> dict[str, np.ndarray]:
  import jax

  from albert_jax.checkpoints.manager import Checkpoints
  from albert_jax.tasks import make_task
  from albert_jax.training.program import make_program

  config = load_config(str(workdir))
  program = make_program(config, make_task(config))
  checkpoints = Checkpoints(str(workdir), every=config.checkpoint.every, keep=config.checkpoint.keep)
  state = checkpoints.restore(program.state, step)
  return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(state)}
