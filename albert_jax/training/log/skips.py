"""Reports skipped steps, and ends a run that has too many consecutive ones."""

from collections.abc import Callable

import numpy as np

from albert_jax.errors import Diverged
from albert_jax.training.log.metrics import MetricAccumulator, Writer
from albert_jax.training.task import Task, Terms

SPLIT = "skipped"  # of their lines in metrics.jsonl


class SkipMonitor:
  """Counts consecutive skipped steps.

  Args:
    task: gives the loss.
    limit: number of consecutive skipped steps that ends the run.
    in_a_row: consecutive steps before the first that were skipped.
    writer: takes a line for each.
    say: prints a line for each.
  """

  def __init__(self, task: Task, *, limit: int, in_a_row: int, writer: Writer, say: Callable[[str], None]):
    self._task, self._limit, self._in_a_row = task, limit, in_a_row
    self._writer, self._say = writer, say

  def take(self, step: int, terms: Terms) -> bool:
    """Takes the terms of the next step, on the host; returns whether it was skipped, and reports it if so.

    Raises:
      Diverged: `limit` consecutive steps were skipped.
    """
    if not terms["skipped_steps"][0]:
      self._in_a_row = 0
      return False
    self._in_a_row += 1
    metrics = step_metrics(self._task, terms)
    found = {name: metrics[name] for name in ("loss", "grad_norm")}
    self._writer.write(step, SPLIT, {"batch": step - 1, **found})  # batches count from 0
    is_finite = np.isfinite(list(found.values())).all()
    why = "a spike (train.spike_factor)" if is_finite else "not finite"
    values = f"loss {found['loss']:.4g}, gradient norm {found['grad_norm']:.4g}"
    self._say(f"warning: step {step} was skipped, {why}: {values}; {self._in_a_row} in a row")
    if self._in_a_row >= self._limit:
      raise Diverged(
        f"{self._in_a_row} consecutive steps were skipped, the last was step {step} (train.max_bad_steps "
        f"{self._limit}). No parameter has changed since, and nothing was saved. Look at a step with the same command "
        f"and --replay_step={step}; a lower optimizer.learning_rate, or an earlier checkpoint, may train on."
      )
    return True


def step_metrics(task: Task, terms: Terms) -> dict[str, float]:
  """The metrics of one step, as the log has them where every step has a line."""
  sums = MetricAccumulator()
  sums.add(terms)
  return task.metrics(sums.means())
