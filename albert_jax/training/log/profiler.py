"""A trace of some steps by JAX's profiler, for TensorBoard's profile plugin, XProf or Perfetto."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import jax

from albert_jax.errors import InputError

FOLDER = "profile"


class Profiler:
  """Traces the steps first … last into WORKDIR/profile.

  Args:
    steps: "first-last", or "" for no trace.
    workdir: of the run.

  Raises:
    InputError: `steps` has another form.
  """

  def __init__(self, steps: str, workdir: str):
    self._first, self._last = parse_steps(steps) if steps else (0, 0)
    self._folder = str(Path(workdir) / FOLDER)
    self._running = False

  @contextlib.contextmanager
  def step(self, number: int) -> Iterator[None]:
    """Marks what is done in the context as the step; starts the trace before the first and ends it after the last."""
    if number == self._first:
      jax.profiler.start_trace(self._folder)
      self._running = True
    with jax.profiler.StepTraceAnnotation("train", step_num=number):
      yield
    if self._running and number >= self._last:
      self.close()

  def close(self) -> None:
    """Ends a trace that has begun. What its steps still compute is waited for."""
    if self._running:
      self._running = False
      for array in jax.live_arrays():
        array.block_until_ready()
      jax.profiler.stop_trace()


def parse_steps(text: str) -> tuple[int, int]:
  """First and last step of "10-15"."""
  first, dash, last = text.partition("-")
  if not (first.isdecimal() and (last or first).isdecimal()) or (dash and not last) or int(first) < 1:
    raise InputError(f'train.profile="{text}" must be a range of steps such as 10-15.')
  if int(last or first) < int(first):
    raise InputError(f'train.profile="{text}" ends before it begins.')
  return int(first), int(last or first)
