"""The training loop, and evaluation. Every task shares them."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import jax
import ml_collections
import numpy as np

from albert_jax.config import FILE as CONFIG_FILE
from albert_jax.config import differences, load_config, save_config
from albert_jax.data.pipeline import prefetch
from albert_jax.errors import InputError
from albert_jax.training import distributed
from albert_jax.training.checkpoint import Checkpoints
from albert_jax.training.metrics import Meter, Progress, Writer, peak_flops, summary
from albert_jax.training.program import Program
from albert_jax.training.sharding import batch_shards, local_rows, to_devices
from albert_jax.training.step import Batch, Terms, TrainState


def train(program: Program, workdir: str) -> dict[str, dict[str, float]]:
  """Trains to `train.steps`, from the newest checkpoint of the workdir if there is one.

  Returns:
    The metrics of the last evaluation, by split.
  """
  config = program.config
  train_step = program.train_step  # checks the batch size
  data = program.task.load_data()  # whatever is wrong with it shows before anything is written
  distributed.check_same("training data", data.fingerprint)
  checkpoints = Checkpoints(
    workdir, every=config.checkpoint.every, keep=config.checkpoint.keep, keep_every=config.checkpoint.keep_every
  )
  first = checkpoints.latest() or 0
  if first > config.train.steps:
    raise InputError(f"{workdir} is at step {first}, beyond train.steps {config.train.steps}: raise it to go on.")
  writer, progress = Writer(workdir, first_step=first), Progress(first, config.train.steps)
  _record_config(config, workdir, progress)
  state = checkpoints.restore(program.state) if first else _new_state(program)
  if first:
    progress.say(f"resumed {workdir} at step {first}")
  train_step = _compile(train_step, program, progress)
  window = Window(program, writer, progress)
  results = {}
  batches = device_batches(program, data.train, first, config.train.steps, size=config.train.batch_size)
  for step, batch in enumerate(batches, first + 1):
    state, terms = train_step(state, batch)
    window.add(step, terms)
    progress.step()
    if _is_due(step, config.eval.every, config.train.steps):
      with window.paused():
        results = evaluate(program, state.params, data.evaluations)
        _report(step, results, writer, progress)
    if checkpoints.is_due(step) or step == config.train.steps:
      with window.paused():
        checkpoints.save(state, step)
  checkpoints.close()
  progress.close()
  if not results:  # the run had already ended
    results = evaluate(program, state.params, data.evaluations)
    _report(first, results, None, progress)
  writer.close()
  return results


def evaluate(program: Program, params, evaluations) -> dict[str, dict[str, float]]:
  """Metrics of each split, every row exactly once whatever the batch size and the mesh."""
  results = {}
  for split, rows in evaluations.items():
    meter = Meter()
    shards = batch_shards(program.mesh)
    size = -(-program.config.eval.batch_size // shards) * shards  # the last batch ends in empty rows
    for batch in device_batches(program, rows, 0, -(-rows.num_rows // size), size=size):
      meter.add(program.eval_step(params, batch))
    results[split] = program.task.metrics(meter.means())
  return results


def device_batches(program: Program, rows, start: int, stop: int, *, size: int) -> Iterator[Batch]:
  """Batches start … stop − 1 on the devices, one ahead of the step that uses them.

  Args:
    program: gives mesh and config.
    rows: rows at random access; batch s holds rows s·size … (s + 1)·size − 1, of which this process makes its own.
    start: first batch.
    stop: one past the last.
    size: rows in a global batch.
  """
  first_row, last_row = local_rows(program.batch_sharding, size)

  def make(step: int) -> dict[str, np.ndarray]:
    return rows.rows(step * size + first_row, step * size + last_row)

  data = program.config.data
  ahead = None
  for local in prefetch(make, start, stop, workers=data.workers, buffer=data.prefetch):
    batch = to_devices(local, program.batch_sharding, size)
    if ahead is not None:
      yield ahead
    ahead = batch
  if ahead is not None:
    yield ahead


class Window:
  """The steps between two lines of the log. A line is written a step late, so that the devices never wait for it."""

  def __init__(self, program: Program, writer: Writer, progress: Progress):
    self._task, self._config = program.task, program.config
    self._writer, self._progress = writer, progress
    peak = peak_flops(program.mesh.devices.flat[0])
    self._peak = peak and peak * program.mesh.devices.size
    self._due: int | None = None
    self._meter, self._clock = Meter(), time.perf_counter()

  def add(self, step: int, terms: Terms) -> None:
    """Takes the terms of a step that has just been dispatched."""
    self.flush()
    self._meter.add(terms)
    if _is_due(step, self._config.train.log_every, self._config.train.steps):
      self._due = step

  def flush(self) -> None:
    """Writes the line that is due, if one is; waits for its last step."""
    if self._due is None:
      return
    metrics = self._task.metrics(self._meter.means())
    rate = self._meter.total("fill") / (time.perf_counter() - self._clock)
    metrics["tokens_per_second"] = rate
    if self._peak:
      metrics["mfu"] = rate * self._task.flops_per_token() / self._peak
    self._writer.write(self._due, "train", metrics)
    self._progress.show(self._due, metrics)
    self._due, self._meter, self._clock = None, Meter(), time.perf_counter()

  @contextlib.contextmanager
  def paused(self) -> Iterator[None]:
    """Leaves out of the speed what is done meanwhile."""
    self.flush()
    start = time.perf_counter()
    yield
    self._clock += time.perf_counter() - start


def _new_state(program: Program) -> TrainState:
  """A state at step 0, with the parameters of another run's newest checkpoint where `init_from` names one."""
  state = program.init(program.config.seed)
  if not program.config.init_from:
    return state
  source = Checkpoints(program.config.init_from, read_only=True)
  params = source.restore_params(program.state.params)
  source.close()
  return state._replace(params=params)


def _compile(train_step, program: Program, progress: Progress):
  """Compiles the train step before the clock starts."""
  start = time.perf_counter()
  specs = program.task.batch_specs(program.config.train.batch_size)
  compiled = train_step.lower(program.state, specs).compile()
  progress.say(f"compiled the train step in {time.perf_counter() - start:.1f} s")
  return compiled


def _record_config(config: ml_collections.ConfigDict, workdir: str, progress: Progress) -> None:
  """Writes `config.json`; tells what a resumed run does differently from before."""
  if (Path(workdir) / CONFIG_FILE).exists():
    for key, (old, new) in differences(load_config(workdir), config).items():
      progress.say(f"warning: {key} was {old} in {workdir}, it is now {new}")
  if jax.process_index() == 0:
    save_config(config, workdir)


def _report(step: int, results: dict[str, dict[str, float]], writer: Writer | None, progress: Progress) -> None:
  for split, metrics in results.items():
    if writer is not None:
      writer.write(step, split, metrics)
    progress.say(f"{split} at step {step}: {summary(metrics)}")


def _is_due(step: int, every: int, last: int) -> bool:
  return step == last or (every > 0 and step % every == 0)
