import numpy as np

from albert_jax.benchmarking import timing


def test_percentiles():
  assert timing.percentiles(np.arange(101) / 10) == {"p50": 5.0, "p95": 9.5}


def test_the_first_run_does_not_count():
  runs = []
  assert timing.fastest(lambda: runs.append(1), 3) >= 0
  assert timing.median(lambda: runs.append(1), 4) >= 0
  assert len(runs) == 4 + 5


def test_the_ceiling_is_that_of_the_best_size(monkeypatch):
  monkeypatch.setattr(timing, "fastest", lambda function, runs: function())
  rates = {1024: 5e9, 2048: 7e9}
  assert timing.gemm_ceiling(lambda size: lambda: 2 * size**3 / rates[size], "cpu") == 7e9


def test_resident_memory_is_in_bytes():
  assert timing.peak_resident_bytes() > 50 * 2**20
