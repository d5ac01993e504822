"""Curves and settings for TensorBoard, written within the call, so that a full disk never blocks a run."""

import os
import time
from collections.abc import Mapping
from typing import Any

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary
from tensorboardX.summary import hparams

FOLDER = "tensorboard"
_FLUSH_SECONDS = 20  # flushing waits for the disk


class TensorBoard:
  """The event file of a run.

  Args:
    workdir: of the run.
    first_step: the step that the run starts from: what an earlier, killed run wrote beyond it is hidden.
    config: the run's, by dotted key: its hyper-parameters.

  Raises:
    OSError: it cannot be written, here and in every call.
  """

  def __init__(self, workdir: str, first_step: int, config: Mapping[str, Any]):
    folder = os.path.join(workdir, FOLDER)
    os.makedirs(folder, exist_ok=True)
    self._events = EventsWriter(os.path.join(folder, "events"))
    self._flushed = 0.0
    self._write(Event(step=first_step + 1, session_log=SessionLog(status=SessionLog.START)))
    settings = {
      key: value if isinstance(value, bool | int | float | str) else str(value) for key, value in config.items()
    }
    for summary in hparams(settings, {}):
      self._write(Event(step=first_step, summary=summary))

  def add(self, step: int, split: str, metrics: Mapping[str, float | None]) -> None:
    """Adds a point to the curve of each metric; None is no point."""
    values = [
      Summary.Value(tag=f"{split}/{name}", simple_value=value) for name, value in metrics.items() if value is not None
    ]
    self._write(Event(step=step, summary=Summary(value=values)))

  def close(self) -> None:
    """Closes the file."""
    self._events.close()

  def _write(self, event: Event) -> None:
    event.wall_time = time.time()
    self._events.write_event(event)
    if event.wall_time - self._flushed > _FLUSH_SECONDS:
      self._events.flush()
      self._flushed = event.wall_time
