from types import SimpleNamespace

import numpy as np
import pytest

from albert_jax.training import step_log
from albert_jax.training.step_log import StepLog

SECONDS, TOKENS = 2.0, 10.0  # of a step


class Term:
  """A number of a step, known when that has ended."""

  def __init__(self, value: float, machine: "Machine", end: float):
    self._value, self._machine, self._end = value, machine, end

  def is_ready(self) -> bool:
    return self._machine.now >= self._end

  def block_until_ready(self):
    self._machine.now = max(self._machine.now, self._end)

  def __array__(self):
    self.block_until_ready()
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
    terms = {"loss": (1.0, 1.0), "skipped_steps": (0.0, 1.0), "fill": (TOKENS, 16.0)}
    return {name: tuple(Term(value, self, end) for value in pair) for name, pair in terms.items()}


def run(monkeypatch, *, within_dispatch: bool):
  """Twelve steps and a line for every six: (step, tokens/s) of each line, and the most steps that ran at once."""
  machine, lines, most = Machine(), [], 0
  monkeypatch.setattr(step_log, "time", SimpleNamespace(perf_counter=lambda: machine.now))
  program = SimpleNamespace(
    task=SimpleNamespace(losses=("loss",), metrics=dict),
    config=SimpleNamespace(train=SimpleNamespace(log_every=6)),
    steps=12,
    mesh=SimpleNamespace(devices=SimpleNamespace(flat=[SimpleNamespace(device_kind="")], size=1)),
    guard=SimpleNamespace(max_bad_steps=3),
  )
  writer = SimpleNamespace(write=lambda step, split, metrics: lines.append((step, metrics["tokens_per_second"])))
  progress = SimpleNamespace(show=lambda step, metrics: None, say=print)
  log = StepLog(program, writer, progress, bad_in_a_row=0)
  for step in range(1, 13):
    terms = machine.dispatch()
    if within_dispatch:
      machine.now += SECONDS
    most = max(most, machine.running)
    log.add(step, terms)
  log.flush()
  return lines, most


@pytest.mark.parametrize(("within_dispatch", "most"), [(False, 3), (True, 0)], ids=["accelerator", "cpu"])
def test_a_line_holds_the_time_of_its_own_steps_and_few_run_at_once(monkeypatch, within_dispatch, most):
  lines, found = run(monkeypatch, within_dispatch=within_dispatch)
  assert lines == [(step, TOKENS / SECONDS) for step in (6, 12)]
  assert found == most
