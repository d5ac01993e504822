"""The training loop, and evaluation. Every task shares them."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import jax
import numpy as np

from albert_jax.checkpoints.manager import Checkpoints
from albert_jax.data.loader import prefetch
from albert_jax.data.tokenizers.hf_folder import FOLDER as TOKENIZER_FOLDER
from albert_jax.data.tokenizers.hf_folder import save_tokenizer
from albert_jax.errors import InputError
from albert_jax.runtime import distributed, preemption, watchdog
from albert_jax.training.best import BestCheckpoint
from albert_jax.training.init_from import Pretrained, init_from
from albert_jax.training.metrics import MetricAccumulator, Progress, Writer, logged_splits, summary
from albert_jax.training.program import Program
from albert_jax.training.run_signature import check_signature, save_signature
from albert_jax.training.sharding import batch_shards, local_rows, to_devices
from albert_jax.training.step import TrainState
from albert_jax.training.step_log import CompiledSteps, StepLog, is_due
from albert_jax.training.task import Batch, Outputs, Rows

Results = dict[str, dict[str, float]]  # metrics by split


def train(
  program: Program, workdir: str, start: Pretrained | None = None, *, allow_changes: Sequence[str] = ()
) -> Results:
  """Trains to the last step, from the newest checkpoint of the workdir if there is one.

  Args:
    program: what to train.
    workdir: folder of the run.
    start: where a new run takes its first parameters from; those it lacks are new.
    allow_changes: what may differ from the run in the workdir, fields as in `identity.check_signature`.

  Returns:
    The metrics of the last evaluation, or of the best one if `eval.metric` names what is best, by split.

  Raises:
    InputError: the workdir holds another run, or too many steps in a row were skipped.
    SystemExit: with `preemption.EXIT_CODE`; the run is saved.
  """
  run = _Run(program, workdir, start, allow_changes)
  with watchdog.watching(program.config.train.timeout):
    with preemption.graceful():
      try:
        run.advance()
      except preemption.Stop:
        run.save()
        run.close()
        raise SystemExit(preemption.EXIT_CODE) from None
      except BaseException:
        run.drain()
        raise
    return run.finish()


class _Run:
  """A run under way: what lasts from step to step."""

  def __init__(self, program: Program, workdir: str, start: Pretrained | None, allow_changes: Sequence[str]):
    config = program.config
    self._program = program
    self._train_step = CompiledSteps(program)  # checks the batch size
    self._data = data = program.task.load_data()  # whatever is wrong with it shows before anything is written
    distributed.check_same("training data", data.fingerprint)
    self._checkpoints = Checkpoints(
      workdir, every=config.checkpoint.every, keep=config.checkpoint.keep, keep_every=config.checkpoint.keep_every
    )
    self._step = first = self._checkpoints.latest() or 0
    self._saved = first
    if first > program.steps:
      raise InputError(f"{workdir} is at step {first}, beyond train.steps {program.steps}: raise it to go on.")
    changes = check_signature(workdir, config, data, allow_changes) if first else {}
    self._is_evaluated = distributed.value_of_first(set(data.evaluations) <= logged_splits(workdir, first))
    self._writer, self._progress = Writer(workdir, first_step=first), Progress(first, program.steps)
    self._best = BestCheckpoint(workdir, metric=config.eval.metric, patience=config.eval.patience, first_step=first)
    for key, (old, new) in changes.items():
      self._progress.say(f"{key} was {old}, from here on it is {new}")
    if jax.process_index() == 0:
      save_signature(workdir, config, data)
      save_tokenizer(data.tokenizer, Path(workdir) / TOKENIZER_FOLDER)
    self._state = (
      self._checkpoints.restore(program.state, first) if first else new_state(program, start, self._progress.say)
    )
    if first:
      self._progress.say(f"resumed {workdir} at step {first}")
    in_a_row = int(self._state.guard.in_a_row)
    self._window = StepLog(program, self._writer, self._progress, bad_in_a_row=in_a_row)
    self._results: Results = {}

  def advance(self) -> None:
    """Trains to the last step, or until patience runs out."""
    program, best = self._program, self._best
    if self._step and not self._is_evaluated and is_due(self._step, program.eval_every, program.steps):
      self._evaluate()  # it was saved because of a notice
    last = self._step if best.exhausted else program.steps
    size = program.config.train.batch_size
    with contextlib.closing(device_batches(program, self._data.train, self._step, last, size=size)) as batches:
      for step, batch in enumerate(batches, self._step + 1):
        self._state, terms = self._train_step(self._state, batch, self._window, self._progress)
        self._step = step
        self._window.add(step, terms)
        self._progress.step()
        preemption.check()
        if is_due(step, program.eval_every, program.steps):
          self._evaluate()
        if self._checkpoints.is_due(step) or step == program.steps or best.exhausted:
          self.save()
        if best.exhausted:
          patience, metric = program.config.eval.patience, program.config.eval.metric
          self._progress.say(f"stopped at step {step}: no better {metric} for {patience} evaluations")
          break

  def save(self) -> None:
    """Starts to write a checkpoint, unless this step has one."""
    if self._step != self._saved:
      with self._window.paused(), watchdog.slow():
        self._checkpoints.save(self._state, self._step)
      self._saved = self._step

  def drain(self) -> None:
    """Waits for what a failed run is still writing: it is good, and the next run may use the same folder."""
    try:
      with watchdog.slow():
        self._checkpoints.wait()
    except Exception as error:  # the failure matters more
      self._progress.say(f"warning: the newest checkpoint was not written: {error}")

  def close(self) -> None:
    """Waits for what is being written."""
    with watchdog.slow():
      self._checkpoints.close()
      self._best.close()
    self._progress.close()
    self._writer.close()

  def finish(self) -> Results:
    """Closes the run; evaluates it where its best or last parameters have not just been."""
    self.close()
    best, state = self._best, self._state
    if best.step is not None and (best.step != self._step or not self._results):
      results = evaluate(self._program, best.params(self._program.state.params), self._data.evaluations)
      _report(best.step, results, None, self._progress, "best, ")
      return results
    if not self._results:  # the run had already ended
      self._results = evaluate(self._program, state.params, self._data.evaluations)
      _report(self._step, self._results, None, self._progress)
    return self._results

  def _evaluate(self) -> None:
    with self._window.paused():
      self._results = evaluate(self._program, self._state.params, self._data.evaluations)
      _report(self._step, self._results, self._writer, self._progress)
      with watchdog.slow():
        self._best.add(self._step, self._results, self._state)


def evaluate(program: Program, params, evaluations: Mapping[str, Rows]) -> Results:
  """Metrics of each split, every row exactly once whatever the batch size and the mesh.

  Raises:
    Stop: as `preemption.check`, which is called after each batch.
  """
  results = {}
  for split, rows in evaluations.items():
    means, outputs = infer(program, params, rows)
    with watchdog.slow():
      results[split] = {**program.task.metrics(means), **program.task.scores(split, outputs)}
  return results


def infer(program: Program, params, rows: Rows) -> tuple[dict[str, float], Outputs]:
  """The means of the terms over all rows, and the outputs of each row."""
  meter, outputs = MetricAccumulator(), {}
  shards = batch_shards(program.mesh)
  size = -(-program.config.eval.batch_size // shards) * shards  # the last batch ends in empty rows
  for batch in device_batches(program, rows, 0, -(-rows.num_rows // size), size=size):
    with watchdog.slow():  # the first batch compiles
      terms, found = program.eval_step(params, batch)
    meter.add(terms)
    for name, array in jax.device_get(found).items():
      outputs.setdefault(name, []).extend(array)
    jax.block_until_ready(terms)
    watchdog.beat()
    preemption.check()
  return meter.means(), {name: arrays[: rows.num_rows] for name, arrays in outputs.items()}


def device_batches(program: Program, rows: Rows, start: int, stop: int, *, size: int) -> Iterator[Batch]:
  """Batches start … stop − 1 on the devices, one ahead of the step that uses them.

  Args:
    program: gives mesh and config.
    rows: of which this process makes its own part of each batch.
    start: first batch.
    stop: one past the last.
    size: rows in a global batch.
  """
  first_row, last_row = local_rows(program.batch_sharding, size)

  def make(step: int) -> dict[str, np.ndarray]:
    return rows.batch(step, size, first_row, last_row)

  data = program.config.data
  ahead = None
  for local in prefetch(make, start, stop, workers=data.workers, buffer=data.prefetch):
    batch = to_devices(local, program.batch_sharding, size)
    if ahead is not None:
      yield ahead
    ahead = batch
  if ahead is not None:
    yield ahead


def new_state(program: Program, start: Pretrained | None, say: Callable[[str], None]) -> TrainState:
  """A state at step 0, with the parameters of the start as far as it has them."""
  state = program.init(program.config.seed)
  if start is None:
    return state
  params, new, unused = init_from(start, state.params)
  say(f"parameters from {start.about}")
  if new:
    say(f"  not there, and so new: {', '.join(new)}")
  if unused:
    say(f"  not used: {', '.join(unused)}")
  return state._replace(params=params)


def _report(
  step: int, results: dict[str, dict[str, float]], writer: Writer | None, progress: Progress, note=""
) -> None:
  for split, metrics in results.items():
    if writer is not None:
      writer.write(step, split, metrics)
    progress.say(f"{note}{split} at step {step}: {summary(metrics)}")
