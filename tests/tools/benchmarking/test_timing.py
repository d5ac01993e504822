import numpy as np

from albert_jax.tools.benchmarking import timing


def test_percentiles():
  assert timing.percentiles(np.arange(101) / 10) == {"p50": 5.0, "p95": 9.5}


def test_the_first_run_does_not_count():
  runs = []
  assert timing.fastest(lambda: runs.append(1), 3) >= 0
  assert len(runs) == 4


def test_functions_take_turns_and_their_first_round_does_not_count(monkeypatch):
  clock, calls = [0.0], []
  took = {"a": iter([9.0, 1.0, 2.0, 6.0]), "b": iter([9.0, 3.0, 3.0, 8.0])}

  def run(name):
    calls.append(name)
    clock[0] += next(took[name])

  monkeypatch.setattr(timing.time, "perf_counter", lambda: clock[0])
  assert timing.medians({"a": lambda: run("a"), "b": lambda: run("b")}, 3) == {"a": 2.0, "b": 3.0}
  assert "".join(calls) == "ab" * 4


def test_the_ceiling_is_that_of_the_best_size(monkeypatch):
  monkeypatch.setattr(timing, "fastest", lambda function, runs: function())
  rates = {1024: 5e9, 2048: 7e9}
  assert timing.gemm_ceiling(lambda size: lambda: 2 * size**3 / rates[size], "cpu") == 7e9


def test_resident_memory_is_in_bytes():
  assert timing.peak_resident_bytes() > 50 * 2**20
