from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

from albert_jax.errors import InputError
from albert_jax.runtime.supervisor import Supervisor
from albert_jax.training.log import step_log
from albert_jax.training.log.step_log import StepLog

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


def make_log(machine, writer, *, log_every: int = 6, steps: int = 12, limit: int = 3) -> StepLog:
  program = SimpleNamespace(
    task=SimpleNamespace(losses=("loss",), metrics=dict),
    config=SimpleNamespace(train=SimpleNamespace(log_every=log_every)),
    steps=steps,
    mesh=SimpleNamespace(devices=SimpleNamespace(flat=[SimpleNamespace(device_kind="")], size=1)),
    guard=SimpleNamespace(max_bad_steps=limit),
  )
  progress = SimpleNamespace(show=lambda step, metrics: None, say=print)
  return StepLog(program, writer, progress, Supervisor(), skipped_in_a_row=0)


def run(monkeypatch, *, within_dispatch: bool):
  """Twelve steps and a line for every six: (step, tokens/s) of each line, and the most steps that ran at once."""
  machine, lines, most = Machine(), [], 0
  monkeypatch.setattr(step_log, "time", SimpleNamespace(perf_counter=lambda: machine.now))
  writer = SimpleNamespace(write=lambda step, split, metrics: lines.append((step, metrics["tokens_per_second"])))
  log = make_log(machine, writer)
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


class Lines(list):
  def write(self, step, split, metrics):
    self.append((step, split, metrics))


def terms(loss: float = 1.0, skipped: int = 0) -> dict:
  found = {"loss": loss, "grad_norm": loss, "fill": 1.0, "skipped_steps": float(skipped)}
  return {name: (jnp.float32(value), jnp.float32(1)) for name, value in found.items()}


def test_the_metrics_of_skipped_steps_count_for_nothing():
  lines = Lines()
  log = make_log(None, lines, log_every=4)
  for step, found in enumerate([terms(1), terms(np.nan, 1), terms(50, 1), terms(2)], 1):
    log.add(step, found)
  log.flush()
  ((_, _, metrics),) = (line for line in lines if line[1] == "train")
  assert (metrics["loss"], metrics["skipped_steps"]) == (1.5, 2)
  assert "steps" not in metrics


def test_a_line_that_covers_fewer_steps_says_so():
  lines = Lines()
  log = make_log(None, lines, log_every=4)
  for step in range(7, 13):  # as after a resume at step 6
    log.add(step, terms())
  log.flush()
  assert [(step, metrics.get("steps")) for step, _, metrics in lines] == [(8, 2), (12, None)]


def test_a_long_time_without_a_line_hides_no_skipped_step():
  log = make_log(None, Lines(), log_every=1000, steps=1000, limit=1)
  log.add(1, terms(skipped=1))
  for step in range(2, 65):
    log.add(step, terms())
  with pytest.raises(InputError, match="the last was step 1 "):
    log.add(65, terms())
