"""What surrounds a train step: its compilation, and the log of the steps."""

import collections
import contextlib
import time
from collections.abc import Callable, Iterator

import jax

from albert_jax.runtime import distributed, watchdog
from albert_jax.runtime.compilation import compile_program
from albert_jax.training.metrics import MetricAccumulator, Progress, Writer, peak_flops
from albert_jax.training.program import Program
from albert_jax.training.skips import SkipMonitor
from albert_jax.training.step import TrainState
from albert_jax.training.task import Batch, Terms

AHEAD = 2


class StepLog:
  """The steps between two lines of the log.

  A line is written when its last step has ended, or else after the next one's dispatch, so that no device waits for it.
  The host is never more than `AHEAD` steps ahead of them: a notice of preemption is answered soon, and a step that
  hangs is noticed.
  """

  def __init__(self, program: Program, writer: Writer, progress: Progress, *, bad_in_a_row: int):
    self._task, self._config, self._steps = program.task, program.config, program.steps
    self._writer, self._progress = writer, progress
    peak = peak_flops(program.mesh.devices.flat[0])
    self._peak = peak and peak * program.mesh.devices.size
    self._due: int | None = None
    self._running: collections.deque[Terms] = collections.deque()
    limit = program.guard.max_bad_steps
    self._skips = SkipMonitor(self._task, limit=limit, in_a_row=bad_in_a_row, writer=writer, say=progress.say)
    self._meter, self._clock = MetricAccumulator(self._skips.filter), time.perf_counter()

  def add(self, step: int, terms: Terms) -> None:
    """Takes the terms of a step that has just been dispatched; on CPUs it has also ended (`memory.py`)."""
    self.flush()
    self._meter.add(terms, step)
    self._running.append(terms)
    if len(self._running) > AHEAD:
      jax.block_until_ready(self._running.popleft())
      watchdog.beat()
    if is_due(step, self._config.train.log_every, self._steps):
      self._due = step
      if ended(terms):
        self.flush()

  def flush(self) -> None:
    """Writes the line that is due, if one is; waits for its last step."""
    if self._due is None:
      return
    means = self._meter.means()
    metrics = self._task.metrics(means) if any(name in means for name in self._task.losses) else means
    metrics["skipped_steps"] = self._meter.total("skipped_steps")
    rate = self._meter.total("fill") / (time.perf_counter() - self._clock)
    metrics["tokens_per_second"] = rate
    if self._peak:
      metrics["mfu"] = rate * self._task.flops_per_token() / self._peak
    self._writer.write(self._due, "train", metrics)
    self._progress.show(self._due, metrics)
    self._due, self._meter, self._clock = None, MetricAccumulator(self._skips.filter), time.perf_counter()

  @contextlib.contextmanager
  def paused(self) -> Iterator[None]:
    """Leaves out of the speed what is done meanwhile; that begins when all steps are known to be good enough."""
    self.flush()
    self._meter.collect()
    start = time.perf_counter()
    yield
    self._clock += time.perf_counter() - start


class CompiledSteps:
  """The train step, compiled once for each shape of batch, outside the time that the log measures."""

  def __init__(self, program: Program):
    self._program, self._train_step = program, program.train_step
    self._compiled: dict[tuple, Callable] = {}

  def __call__(self, state: TrainState, batch: Batch, window: StepLog, progress: Progress) -> tuple[TrainState, Terms]:
    """Takes a step; compiles it first, where no batch had this shape."""
    shapes = tuple(array.shape for array in batch.values())
    if shapes not in self._compiled:
      with window.paused(), watchdog.slow():
        start = time.perf_counter()
        self._compiled[shapes] = compile_program(self._train_step.lower(self._program.state, batch))
        distributed.barrier()
        length = batch["tokens"].shape[-1]
        progress.say(f"compiled the train step for length {length} in {time.perf_counter() - start:.1f} s")
    return self._compiled[shapes](state, batch)


def ended(terms: Terms) -> bool:
  """Whether the step that these come from has ended."""
  return all(term.is_ready() for term in jax.tree.leaves(terms))


def is_due(step: int, every: int, last: int) -> bool:
  """Whether something is due that is done every so many steps (0 = never) and at the last."""
  return step == last or (every > 0 and step % every == 0)
