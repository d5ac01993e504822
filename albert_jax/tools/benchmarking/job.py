"""A job of a benchmark: a contender and its settings; each runs in a process of its own."""

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_collections

from albert_jax.errors import InputError

OURS = "ours"


@dataclasses.dataclass(frozen=True)
class Peer:
  """A contender in PyTorch.

  Attributes:
    tuned: an own forward pass, with the masked-LM head on the predicted positions only, instead of the model's own.
    compiled: by `torch.compile`.
    packed: takes our rows, several examples in each, where the others get one example a row.
  """

  tuned: bool
  compiled: bool
  packed: bool = False


PEERS = {
  "transformers": Peer(tuned=False, compiled=False),
  "transformers_compiled": Peer(tuned=False, compiled=True),
  "tuned": Peer(tuned=True, compiled=False),
  "tuned_compiled": Peer(tuned=True, compiled=True),
  "packed": Peer(tuned=True, compiled=False, packed=True),
  "packed_compiled": Peer(tuned=True, compiled=True, packed=True),
}


@dataclasses.dataclass(frozen=True)
class Job:
  """One thing to do in a fresh process.

  Attributes:
    contender: `OURS` or a name of `PEERS`.
    action: "prepare" (ours: batches and weights), "gate" (the gradient of the first batch), "time" (steps), "parts"
      (ours: where the time goes) or "scale" (ours: one mesh, see `scaling`).
    config: a record from `configs/`.
    folder: where batches, weights and results are.
    steps: to be timed.
    warmup: steps before them.
    threads: cores to use; 0 = all.
    lengths: one of `batches.LENGTHS`.
    devices: fake devices of a CPU to run on; 0 = the machine's own.
    started: the clock, `time.time()`, when the process was asked for.
  """

  contender: str
  action: str
  config: ml_collections.ConfigDict
  folder: str
  steps: int = 1
  warmup: int = 0
  threads: int = 0
  lengths: str = "full"
  devices: int = 0
  started: float = 0.0

  @property
  def path(self) -> Path:
    """The folder."""
    return Path(self.folder)

  @property
  def gradient_file(self) -> Path:
    """Where the gradient of a gate goes."""
    return self.path / f"{self.contender}_gradient.safetensors"


def run(job: Job, say: Callable[[str], None] = lambda line: None) -> dict[str, Any]:
  """Does a job in a fresh process, and returns what it found.

  Raises:
    InputError: the job ended with one, or failed.
  """
  with tempfile.TemporaryDirectory(dir=job.folder) as folder:
    order, result = Path(folder, "job.json"), Path(folder, "result.json")
    record = dataclasses.asdict(dataclasses.replace(job, config=None, started=time.time()))
    order.write_text(json.dumps(record | {"config": json.loads(job.config.to_json_best_effort())}), encoding="utf-8")
    command = [sys.executable, "-m", "albert_jax.tools.benchmarking.worker", str(order), str(result)]
    done = subprocess.run(command, capture_output=True, text=True, env=_environment(job), check=False)
    found = json.loads(result.read_text(encoding="utf-8")) if result.exists() else {}
  if "error" in found:
    raise InputError(found["error"])
  if done.returncode:
    say(done.stderr[-4000:])
    reason = "RESOURCE_EXHAUSTED, " if "RESOURCE_EXHAUSTED" in done.stderr else ""
    raise InputError(f"{job.contender} failed ({job.action}, {reason}status {done.returncode}); see above.")
  return found


def load(path: str) -> Job:
  """Reads the file that a process is given."""
  record = json.loads(Path(path).read_text(encoding="utf-8"))
  return Job(**record | {"config": ml_collections.ConfigDict(record["config"])})


def write_json(path: Path, found: dict) -> None:
  """Writes what `--output` asks for."""
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
  except OSError as error:
    raise InputError(f"--output={path} cannot be written ({error.strerror}).") from error


def _environment(job: Job) -> dict[str, str]:
  """A contender keeps compiled programs in the job's folder: its first process starts cold, the next ones warm."""
  cache = job.path / f"{job.contender}_compiled"
  fake = {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": str(job.devices)} if job.devices else {}
  return {
    **os.environ,
    **fake,
    "JAX_COMPILATION_CACHE_DIR": str(cache),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    "TORCHINDUCTOR_CACHE_DIR": str(cache),
    "PYTHONPATH": os.pathsep.join(filter(None, (str(Path(__file__).parents[3]), os.environ.get("PYTHONPATH")))),
  }
