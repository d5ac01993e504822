"""Early stopping, and the checkpoint that was best by a metric."""

from pathlib import Path

import jax

from albert_jax.checkpoints.manager import Checkpoints
from albert_jax.errors import unknown
from albert_jax.runtime.distributed import broadcast_from_first
from albert_jax.training.log.metrics import FILE, records
from albert_jax.training.log.skips import SPLIT as SKIPPED
from albert_jax.training.step import TrainState

FOLDER = "best"


class BestCheckpoint:
  """Keeps the parameters of the best evaluation, and says when to stop.

  What was best so far is read from the run's own log, so a resumed run judges as an unbroken one.

  Args:
    workdir: of the run; the parameters go to its folder `best/`.
    metric: its name, higher is better, taken from the first evaluation split that has it; "" = keep nothing.
    patience: evaluations in a row without a better one after which training stops; 0 = never.
    first_step: the step that the run starts from; later lines of the log do not count.
  """

  def __init__(self, workdir: str, *, metric: str, patience: int, first_step: int):
    self._workdir, self._metric, self._patience = workdir, metric, patience
    self.step: int | None = None
    self.value = float("-inf")
    self._since = 0
    if metric:
      self._checkpoints = Checkpoints(workdir, keep=1, folder=FOLDER)
      if jax.process_index() == 0:
        for step, value in _logged(Path(workdir) / FILE, metric, first_step):
          self._judge(step, value)
      step, self.value, since = broadcast_from_first([self.step or 0, self.value, self._since])
      self.step, self._since = int(step) or None, int(since)

  @property
  def exhausted(self) -> bool:
    """Whether patience has run out."""
    return 0 < self._patience <= self._since

  def add(self, step: int, results: dict[str, dict[str, float]], state: TrainState) -> None:
    """Takes an evaluation; saves the parameters if it is the best.

    Raises:
      InputError: no evaluation split has the metric.
    """
    if not self._metric:
      return
    values = [metrics[self._metric] for metrics in results.values() if self._metric in metrics]
    if not values:
      raise unknown("eval.metric", self._metric, {name for metrics in results.values() for name in metrics})
    if self._judge(step, values[0]):
      self._checkpoints.save(state._replace(opt={}), step)
      self._checkpoints.wait()  # so that a checkpoint of this step never lacks the best of its past

  def params(self, specs) -> dict | None:
    """The best parameters, or None where there are none."""
    if self.step is None:
      return None
    return self._checkpoints.restore_params(specs, self.step)

  def close(self) -> None:
    """Waits for what is being saved."""
    if self._metric:
      self._checkpoints.close()

  def _judge(self, step: int, value: float) -> bool:
    better = value > self.value
    if better:
      self.step, self.value = step, value
    self._since = 0 if better else self._since + 1
    return better


def _logged(path: Path, metric: str, last_step: int) -> list[tuple[int, float]]:
  """(step, value) of each evaluation in the log, from the first split that has the metric."""
  found: dict[int, float] = {}
  for record in records(path):
    if record["split"] not in ("train", SKIPPED) and metric in record and record["step"] <= last_step:
      value = record[metric]
      found.setdefault(record["step"], float("nan") if value is None else value)
  return sorted(found.items())
