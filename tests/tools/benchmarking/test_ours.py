from types import SimpleNamespace

import pytest

from albert_jax.tools.benchmarking import ours
from albert_jax.tools.benchmarking.job import OURS, Job


class Terms:
  """What a step of the machine below gives: ready when the clock has come to its end."""

  def __init__(self, machine, end):
    self.machine, self.end = machine, end

  def is_ready(self):
    return self.machine.now >= self.end

  def block_until_ready(self):
    self.machine.now = max(self.machine.now, self.end)


class Machine:
  """Steps of 8 s, the first of 20, on a device that runs them one after the other, or within their dispatch."""

  def __init__(self, is_host):
    self.is_host, self.now, self.free, self.steps = is_host, 100.0, 100.0, 0

  def __call__(self, state, batch, hyper):
    self.free = max(self.now, self.free) + (8.0 if self.steps else 20.0)
    self.steps += 1
    self.now = self.free if self.is_host else self.now + 1.0
    return state, Terms(self, self.free)


@pytest.mark.parametrize("is_host", [True, False])
@pytest.mark.parametrize(("warmup", "expected"), [(0, [20.0, 8.0, 8.0]), (2, [8.0, 8.0, 8.0])])
def test_the_time_of_a_step_is_that_between_its_end_and_the_one_before(monkeypatch, is_host, warmup, expected):
  machine = Machine(is_host)
  monkeypatch.setattr(ours, "_mark", lambda: (machine.now, machine.now / 2))
  monkeypatch.setattr(ours, "_placed", lambda program, batch: batch)
  job = Job(OURS, "time", None, "", steps=3, warmup=warmup, started=90.0)
  found = ours._time_steps(job, SimpleNamespace(hyper=None), machine, "state", ["a batch"])
  assert found == {"seconds": expected, "processor_seconds": sum(expected) / 2, "first_step_seconds": 30.0}
