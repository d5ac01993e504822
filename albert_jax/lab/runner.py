"""One run of a lab: an ordinary training in an ordinary workdir, and a record of how it ended."""

import json
import os
import platform
import subprocess
import time
from pathlib import Path

import jax
import ml_collections

from albert_jax.errors import Diverged, InputError
from albert_jax.files import new_file
from albert_jax.interop.pretrained import open_pretrained
from albert_jax.json_files import read_json
from albert_jax.lab.cost import open_program
from albert_jax.messages import say
from albert_jax.runtime.supervisor import NoticeBoard
from albert_jax.tasks import resolve
from albert_jax.training.compiled_step import Executables
from albert_jax.training.loop import train
from albert_jax.training.program import Program

DONE = "DONE.json"  # written last: a run is finished when it has one
FINISHED, DIVERGED, NO_START = "finished", "diverged", "no start"


def execute(
  config: ml_collections.ConfigDict,
  workdir: str,
  *,
  measure_memory: bool,
  executables: Executables | None = None,
  notices: NoticeBoard | None = None,
) -> None:
  """Trains to the end, or goes on where an earlier worker left off, and writes `DONE.json`.

  Args:
    config: of the run.
    workdir: of the run.
    measure_memory: also ask the compiler how much memory a step takes.
    executables: compiled programs of earlier runs; the runs of an arm have one.
    notices: tells when the run is to be saved and to end.

  Raises:
    InputError: the run cannot be made. A run that diverges is a result, not an error.
    SystemExit: with `preemption.EXIT_CODE`; the run is saved, and goes on at the next start.
  """
  started = time.monotonic()
  executables = executables or Executables()
  if config.init_from and (ended := status(config.init_from)) != FINISHED:
    finish(workdir, NO_START, config, detail=f"{config.init_from}: {ended}", seconds=0.0)
    return
  pretrained = resolve(config, open_pretrained(config.init_from) if config.init_from else None)
  program = open_program(config)
  ended, detail = FINISHED, ""
  try:
    train(program, workdir, pretrained, notices=notices, executables=executables)
  except Diverged as error:
    ended, detail = DIVERGED, str(error).partition(". ")[0]
    say(f"{workdir} diverged: {detail}")
  memory = {"temporary_bytes": temporary_bytes(program, executables)} if measure_memory else {}
  finish(workdir, ended, config, detail=detail, seconds=time.monotonic() - started, **memory)


def finish(workdir: str, ended: str, config: ml_collections.ConfigDict, **more) -> None:
  """Writes `DONE.json`, whole or not at all."""
  record = {"status": ended, "steps": config.train.steps, **more, **environment()}
  with new_file(Path(workdir) / DONE) as path:
    path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def status(workdir: str | os.PathLike[str]) -> str:
  """How a run ended; "" while it has not."""
  return str(read_done(workdir).get("status", ""))


def read_done(workdir: str | os.PathLike[str]) -> dict:
  """The record of a finished run; {} while there is none, or where it cannot be read."""
  try:
    return read_json(Path(workdir) / DONE, {})
  except InputError:
    return {}


def temporary_bytes(program: Program, executables: Executables) -> int:
  """What a compiled train step holds for the length of a step, by the compiler: activations above all."""
  specs = program.task.batch_specs(program.config.train.batch_size)
  lowered = program.train_step.lower(program.state, specs, program.hyper)
  analysis = executables.compile(lowered, program.compiler_options).memory_analysis()
  return int(getattr(analysis, "temp_size_in_bytes", 0) or 0)


def environment() -> dict[str, str]:
  """Where and with what a run was made."""
  device = jax.devices()[0]
  kind = f"{platform.machine()} CPU, {os.cpu_count()} cores" if device.platform == "cpu" else device.device_kind
  return {"device": f"{jax.device_count()} × {kind}", "jax": jax.__version__, "commit": _commit()}


def _commit() -> str:
  """The revision of the code, with "+" where it was changed; "" outside a clone."""
  git = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty=+", "--abbrev=10", "--exclude=*"]
  try:
    return subprocess.run(git, capture_output=True, text=True, timeout=10, check=False).stdout.strip()
  except (OSError, subprocess.SubprocessError):
    return ""
