from types import SimpleNamespace

import numpy as np
import pytest

from albert_jax.training import window
from albert_jax.training.window import Window

SECONDS, TOKENS = 2.0, 10.0  # of a step


class Term:
  """A number of a step, known when that has ended."""

  def __init__(self, value: float, wait):
    self._value, self._wait = value, wait

  def block_until_ready(self):
    self._wait()

  def __array__(self):
    self._wait()
    return np.asarray(self._value)


class Machine:
  """A clock, and a device that takes one step after the other.

  Attributes:
    now: the time.
    running: steps that have been dispatched and not ended.
  """

  def __init__(self):
    self.now, self._ends = 0.0, [0.0]

  @property
  def running(self) -> int:
    return sum(end > self.now for end in self._ends)

  def dispatch(self):
    """A step's terms."""
    end = max(self.now, self._ends[-1]) + SECONDS
    self._ends.append(end)

    def wait():
      self.now = max(self.now, end)

    terms = {"loss": (1.0, 1.0), "skipped_steps": (0.0, 1.0), "fill": (TOKENS, 16.0)}
    return {name: tuple(Term(value, wait) for value in pair) for name, pair in terms.items()}


def run(monkeypatch, platform: str, *, within_dispatch: bool):
  """Six steps and a line for every two: (step, tokens/s) of each line, and the most steps that ran at once."""
  machine, lines, most = Machine(), [], 0
  monkeypatch.setattr(window, "time", SimpleNamespace(perf_counter=lambda: machine.now))
  device = SimpleNamespace(platform=platform, device_kind="")
  program = SimpleNamespace(
    task=SimpleNamespace(losses=("loss",), metrics=dict),
    config=SimpleNamespace(train=SimpleNamespace(log_every=2)),
    steps=6,
    mesh=SimpleNamespace(devices=SimpleNamespace(flat=[device], size=1)),
    guard=SimpleNamespace(max_bad_steps=3),
  )
  writer = SimpleNamespace(write=lambda step, split, metrics: lines.append((step, metrics["tokens_per_second"])))
  progress = SimpleNamespace(show=lambda step, metrics: None, say=print)
  log = Window(program, writer, progress, bad_in_a_row=0)
  for step in range(1, 7):
    log.wait()
    terms = machine.dispatch()
    most = max(most, machine.running)
    if within_dispatch:
      terms["loss"][0].block_until_ready()
    log.add(step, terms)
  log.flush()
  return lines, most


@pytest.mark.parametrize(
  ("platform", "within_dispatch", "most"), [("cpu", False, 1), ("cpu", True, 1), ("gpu", False, 3)]
)
def test_a_line_holds_the_time_of_its_own_steps_and_few_run_at_once(monkeypatch, platform, within_dispatch, most):
  lines, found = run(monkeypatch, platform, within_dispatch=within_dispatch)
  assert lines == [(step, TOKENS / SECONDS) for step in (2, 4, 6)]
  assert found == most
