"""The cost of safety: checkpoints to write, to verify and to go on from, and the guard within the step.

    python scripts/benchmark_checkpoint.py --config=configs/albert_base.py --rows=2 --output=checkpoint.json

Uses random rows of `--rows` × `data.max_length`, and a state of the config's own size. Each figure is the median of
`--repeats`, as seconds on the clock and seconds of all cores: on a machine that is busy with other things, only the
second says something about the program. The share counts what is written in the background as if the steps waited.
Steps with and without the guard take turns.
"""

import contextlib
import dataclasses
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import jax
import numpy as np
from absl import flags
from ml_collections import config_flags

from albert_jax import cli
from albert_jax.checkpoints import manifest
from albert_jax.checkpoints.manager import Checkpoints
from albert_jax.errors import InputError
from albert_jax.tasks import make_task, resolve
from albert_jax.training import step
from albert_jax.training.program import Program, make_program

_CONFIG = config_flags.DEFINE_config_file("config", None, "A file of configs/, with arguments after a colon.")
_ROWS = flags.DEFINE_integer("rows", 2, "Rows of a step; few make the step short, and the share large.", lower_bound=1)
_REPEATS = flags.DEFINE_integer("repeats", 3, "Times that each part is measured.", lower_bound=1)
_FOLDER = flags.DEFINE_string("folder", None, "Where to write; by default a temporary folder.")
_OUTPUT = flags.DEFINE_string("output", None, "JSON file for the figures.")
flags.mark_flag_as_required("config")

Times = dict[str, list[tuple[float, float]]]


def main(_: list[str]) -> None:
  """Measures and prints; the last line is a JSON object."""
  config = _CONFIG.value
  resolve(config, None)
  config.train.update(batch_size=_ROWS.value, microbatches=1)
  program = make_program(config, make_task(config), jax.devices()[:1])
  times: Times = {}
  jax.block_until_ready(program.init(0))  # compiles
  for _ in range(_REPEATS.value):
    measure(times, "new state", lambda: jax.block_until_ready(program.init(0)))
  state = _measure_steps(times, program)  # before the first, the optimizer's zeros would cost next to nothing
  with tempfile.TemporaryDirectory(dir=_FOLDER.value) as folder:
    for _ in range(_REPEATS.value):
      size = _measure_checkpoint(times, program, state, folder)
  record = report(times, size, config.checkpoint.every)
  for name, value in record.items():
    print(f"{name:<40}{value}")
  if _OUTPUT.value:
    Path(_OUTPUT.value).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
  print(json.dumps(record))


def measure(times: Times, name: str, function: Callable[[], object]) -> object:
  """Calls a function, notes the seconds of the clock and of all cores, and returns what it returns."""
  began = time.perf_counter(), time.process_time()
  result = function()
  times.setdefault(name, []).append((time.perf_counter() - began[0], time.process_time() - began[1]))
  return result


def _measure_checkpoint(times: Times, program: Program, state, folder: str) -> int:
  """Saves and restores a state once; returns the bytes of its checkpoint."""
  with contextlib.closing(Checkpoints(folder)) as checkpoints:
    measure(times, "save, the step waits", lambda: checkpoints.save(state, 1))
    measure(times, "save, in the background", checkpoints.wait)
  path = Checkpoints(folder).folder / "1"
  (path / manifest.FILE).unlink()
  measure(times, "of that the manifest", lambda: manifest.write(path))
  checkpoints = Checkpoints(folder)
  if measure(times, "verify", checkpoints.latest) != 1:
    raise InputError(f"The checkpoint in {folder} did not last: is something else writing there?")
  measure(times, "restore", lambda: jax.block_until_ready(checkpoints.restore(program.state, 1)))
  return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def _measure_steps(times: Times, program: Program):
  """Takes a few steps on random rows; returns the last state."""
  batch = _random_batch(program)
  unguarded = dataclasses.replace(program)
  with mock.patch.object(step, "apply_if", lambda _, update, *arguments, branch: update(*arguments)):
    jax.block_until_ready(unguarded.train_step(program.init(0), batch, unguarded.hyper))  # compiles
  state, _ = jax.block_until_ready(program.train_step(program.init(0), batch, program.hyper))
  for _ in range(_REPEATS.value):
    for name, train_step in (("step", program.train_step), ("step without the guard", unguarded.train_step)):
      state, _ = measure(
        times, name, lambda state=state, take=train_step: jax.block_until_ready(take(state, batch, program.hyper))
      )
  return state


def _random_batch(program: Program) -> dict[str, np.ndarray]:
  """Rows full of one example each."""
  random, batch = np.random.default_rng(0), {}
  for name, spec in program.task.batch_specs(_ROWS.value).items():
    high = {"tokens": program.config.model.vocab_size, "mlm_labels": program.config.model.vocab_size}.get(name, 2)
    high = program.config.data.max_length if name == "mlm_positions" else high
    batch[name] = random.integers(0, high, spec.shape).astype(spec.dtype)
  batch["example_ids"][:] = batch["mlm_weights"][:] = batch["pair_weights"][:] = 1
  batch["positions"][:] = np.arange(batch["positions"].shape[1])
  return batch


def report(times: Times, size: int, every: int) -> dict:
  """Medians, and the figures that matter: the shares of the steps, and the seconds that a start takes longer."""
  record = {"checkpoint_bytes": size, "checkpoint_every": every}
  for kind, what in enumerate(("seconds", "core_seconds")):
    median = {name: statistics.median(pair[kind] for pair in pairs) for name, pairs in times.items()}
    save = median["save, the step waits"] + median["save, in the background"]
    record[what] = {name: round(value, 4) for name, value in median.items()}
    record[f"share_of_the_steps_in_{what}"] = round(save / (every * median["step"]), 6)
    record[f"share_of_the_guard_in_{what}"] = round(1 - median["step without the guard"] / median["step"], 4)
    record[f"longer_start_in_{what}"] = round(median["verify"] + median["restore"] - median["new state"], 4)
  return record


if __name__ == "__main__":
  cli.run(main)
