"""The log of the train steps: a line for each window of them, read late enough that no device waits for the host."""

import collections
import contextlib
import time
from collections.abc import Iterator

import jax

from albert_jax.runtime.supervisor import Supervisor
from albert_jax.training.log.metrics import MetricAccumulator, Progress, Writer, peak_flops
from albert_jax.training.log.skips import SkipMonitor
from albert_jax.training.program import Program
from albert_jax.training.task import Terms

AHEAD = 2
_MOST_PENDING = 64  # steps whose terms are kept on the devices; those of long ago are ready


class StepLog:
  """Collects the terms of the steps, and writes a line for each window of `train.log_every`.

  A line is written when its last step has ended, or else after the next one's dispatch, so that no device waits for it.
  The host is never more than `AHEAD` steps ahead of the devices: a notice of preemption is heeded soon, and a step that
  hangs is noticed.
  """

  def __init__(
    self, program: Program, writer: Writer, progress: Progress, supervisor: Supervisor, *, skipped_in_a_row: int
  ):
    self._task, self._config, self._steps = program.task, program.config, program.steps
    self._writer, self._progress, self._supervisor = writer, progress, supervisor
    peak = peak_flops(program.mesh.devices.flat[0])
    self._peak = peak and peak * program.mesh.devices.size
    self._due: int | None = None
    self._running: collections.deque[Terms] = collections.deque()
    self._pending: list[tuple[int, Terms]] = []
    limit = program.guard.max_bad_steps
    self._skips = SkipMonitor(self._task, limit=limit, in_a_row=skipped_in_a_row, writer=writer, say=progress.say)
    self._start_window()

  def add(self, step: int, terms: Terms) -> None:
    """Takes the terms of a step that has just been dispatched; on CPUs it has also ended (`runtime/memory.py`)."""
    self.flush()
    self._covered += 1
    self._pending.append((step, terms))
    if len(self._pending) > _MOST_PENDING:
      self._read(_MOST_PENDING // 2)
    self._running.append(terms)
    if len(self._running) > AHEAD:
      jax.block_until_ready(self._running.popleft())
      self._supervisor.beat()
    if is_due(step, self._config.train.log_every, self._steps):
      self._due = step
      if has_ended(terms):
        self.flush()

  def flush(self) -> None:
    """Writes the line that is due, if one is; waits for its last step."""
    if self._due is None:
      return
    self._read(len(self._pending))
    means = self._sums.means()
    metrics = self._task.metrics(means) if any(name in means for name in self._task.losses) else means
    metrics["skipped_steps"] = self._sums.total("skipped_steps")
    rate = self._sums.total("fill") / (time.perf_counter() - self._clock)
    metrics["tokens_per_second"] = rate
    if self._peak:
      metrics["mfu"] = rate * self._task.flops_per_token() / self._peak
    if self._covered < self._config.train.log_every:
      metrics["steps"] = self._covered  # fewer than the other lines: after a resume, or at the end
    self._writer.write(self._due, "train", metrics)
    self._progress.show(self._due, metrics)
    self._start_window()

  @contextlib.contextmanager
  def paused(self) -> Iterator[None]:
    """Excludes from the measured speed what is done in the context. Before it, all steps so far are read and judged."""
    self.flush()
    self._read(len(self._pending))
    start = time.perf_counter()
    yield
    self._clock += time.perf_counter() - start

  def _start_window(self) -> None:
    self._due, self._sums, self._covered, self._clock = None, MetricAccumulator(), 0, time.perf_counter()

  def _read(self, count: int) -> None:
    """Fetches the terms of the oldest pending steps. Of a skipped one only counts that it was skipped."""
    ready, self._pending = self._pending[:count], self._pending[count:]
    for step, terms in jax.device_get(ready):
      skipped = self._skips.take(step, terms)
      self._sums.add({"skipped_steps": terms["skipped_steps"]} if skipped else terms)


def has_ended(terms: Terms) -> bool:
  """Whether the step that these come from has ended."""
  return all(term.is_ready() for term in jax.tree.leaves(terms))


def is_due(step: int, every: int, last: int) -> bool:
  """Whether a step is the last, or a multiple of `every` (0 = never)."""
  return step == last or (every > 0 and step % every == 0)
