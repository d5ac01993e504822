"""Reads the runs of a lab from their files: how each ended, its evaluations, its speed."""

import dataclasses
import math
import statistics
from pathlib import Path

from albert_jax.errors import InputError
from albert_jax.json_files import read_json
from albert_jax.lab.plan import RUNS
from albert_jax.lab.runner import DONE, FINISHED, read_done
from albert_jax.lab.spec import Lab
from albert_jax.training.log.metrics import FILE, records
from albert_jax.training.run_signature import FILE as FINGERPRINTS


@dataclasses.dataclass(frozen=True)
class Finished:
  """A run that has ended.

  Attributes:
    done: its `DONE.json`.
    lines: its lines of metrics.jsonl.
    data: the fingerprint of its data.
  """

  done: dict
  lines: list[dict]
  data: str

  @property
  def is_whole(self) -> bool:
    """Whether it came to its last step."""
    return self.done["status"] == FINISHED

  def curve(self, metric: str) -> tuple[list[int], list[float]]:
    """Steps and values of SPLIT/NAME; NaN where the value was not finite."""
    split, name = metric.split("/", 1)
    lines = [line for line in self.lines if line["split"] == split and name in line]
    return [line["step"] for line in lines], [_number(line[name]) for line in lines]

  def value(self, metric: str, average: int) -> float:
    """The mean of the last evaluations; NaN for a run that did not come to its end."""
    _, values = self.curve(metric)
    if not self.is_whole or not values:
      return math.nan
    return statistics.fmean(values[-average:])

  def last(self) -> dict[str, float]:
    """The metrics of the last evaluation, as SPLIT/NAME."""
    found = {}
    for line in self.lines:
      if line["split"] not in ("train", "skipped"):
        named = {f"{line['split']}/{name}": value for name, value in line.items() if name not in ("step", "split")}
        found |= named
    return found

  def step_seconds(self, positions: int) -> float:
    """The median time of a step, from the train lines; NaN without any."""
    lines = [line for line in self.lines if line["split"] == "train" and line.get("tokens_per_second")]
    times = [line["fill"] * positions / line["tokens_per_second"] for line in lines if line.get("fill")]
    return statistics.median(times[1:] or times) if times else math.nan


def read_finished(folder: Path) -> Finished | None:
  """The run of a workdir, if it has ended."""
  done = read_done(folder)
  if "status" not in done:
    return None
  try:
    data = read_json(folder / FINGERPRINTS, {"data": str})["data"]
  except InputError:
    data = ""
  return Finished(done, [line for line in records(folder / FILE) if isinstance(line, dict)], data)


class ResultsByFolder(dict):
  """The metric of every finished run, by folder; a run that has been read is not read again."""

  def __init__(self, lab: Lab, workdir: str):
    super().__init__()
    self._lab, self._workdir = lab, Path(workdir)

  def refresh(self) -> "ResultsByFolder":
    """Looks for runs that have ended since.

    Raises:
      InputError: a run that came to its end lacks the metric.
    """
    for path in sorted((self._workdir / RUNS).rglob(DONE)):
      folder = path.parent.relative_to(self._workdir).as_posix()
      if folder in self:
        continue
      finished = read_finished(path.parent)
      if finished is None:
        continue
      value = finished.value(self._lab.metric, self._lab.average)
      if finished.is_whole and not finished.curve(self._lab.metric)[1]:
        known = ", ".join(sorted(finished.last()))
        raise InputError(f"{path.parent} has no metric {self._lab.metric}; it has {known}.")
      self[folder] = value
    return self


def _number(value) -> float:
  return float(value) if isinstance(value, int | float) else math.nan
