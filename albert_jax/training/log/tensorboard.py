"""Curves for TensorBoard, written within the call: a disk that is full never blocks a run, and never ends one."""

import os
import time
from collections.abc import Mapping

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary

from albert_jax.messages import say

FOLDER = "tensorboard"
_FLUSH_SECONDS = 20  # flushing waits for the disk


class TensorBoard:
  """The event file of a run.

  Args:
    workdir: of the run.
    purge_step: what an earlier, killed run wrote from this step on is hidden.
  """

  def __init__(self, workdir: str, *, purge_step: int):
    folder = os.path.join(workdir, FOLDER)
    self._events: EventsWriter | None = None
    self._flushed = 0.0
    try:
      os.makedirs(folder, exist_ok=True)
      self._events = EventsWriter(os.path.join(folder, "events"))
    except OSError as error:
      self._warn(error)
    self._write(Event(step=purge_step, session_log=SessionLog(status=SessionLog.START)))

  def add(self, step: int, split: str, metrics: Mapping[str, float | None]) -> None:
    """Adds a point to the curve of each metric; None is no point."""
    values = [
      Summary.Value(tag=f"{split}/{name}", simple_value=value) for name, value in metrics.items() if value is not None
    ]
    self._write(Event(step=step, summary=Summary(value=values)))

  def close(self) -> None:
    """Closes the file."""
    if self._events is not None:
      events, self._events = self._events, None
      try:
        events.close()
      except OSError as error:
        self._warn(error)

  def _write(self, event: Event) -> None:
    if self._events is None:
      return
    event.wall_time = time.time()
    try:
      self._events.write_event(event)
      if event.wall_time - self._flushed > _FLUSH_SECONDS:
        self._events.flush()
        self._flushed = event.wall_time
    except OSError as error:
      self._events = None
      self._warn(error)

  def _warn(self, error: OSError) -> None:
    say(f"warning: TensorBoard gets no more points: {error.strerror}")
