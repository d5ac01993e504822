"""Clocks, percentiles and memory."""

import os
import resource
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

GEMM_SIZES = {"cpu": (1024, 2048), "accelerator": (4096, 8192)}
_GEMM_RUNS = 5


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
  """Median and 95th percentile, in seconds."""
  return {"p50": float(np.percentile(seconds, 50)), "p95": float(np.percentile(seconds, 95))}


def fastest(function: Callable[[], None], runs: int) -> float:
  """Seconds of the fastest of the runs, after one that does not count."""
  function()
  return min(_seconds(function) for _ in range(runs))


def medians(functions: Mapping[str, Callable[[], None]], runs: int) -> dict[str, float]:
  """Median seconds of each over `runs` rounds in which all take their turn, after one that does not count."""
  rounds = [{name: _seconds(function) for name, function in functions.items()} for _ in range(runs + 1)]
  return {name: float(np.median([seconds[name] for seconds in rounds[1:]])) for name in functions}


def gemm_ceiling(make: Callable[[int], Callable[[], None]], platform: str) -> float:
  """FLOP/s of the fastest square matrix product: what a framework reaches on this machine when it does nothing else.

  Args:
    make: size → a function that multiplies two matrices of that size once, and waits for the result.
    platform: "cpu", or that of an accelerator.
  """
  sizes = GEMM_SIZES["cpu" if platform == "cpu" else "accelerator"]
  return max(2 * size**3 / fastest(make(size), _GEMM_RUNS) for size in sizes)


def peak_resident_bytes() -> int:
  """The most memory that this process has had, since it runs its present program."""
  status = Path("/proc/self/status")
  if status.exists():
    for line in status.read_text().splitlines():
      if line.startswith("VmHWM:"):
        return int(line.split()[1]) * 1024
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def limit_threads(count: int) -> int:
  """Binds this process to a number of its cores (0 = all), which XLA and PyTorch then fill; returns their number."""
  if not hasattr(os, "sched_setaffinity"):
    return count or os.cpu_count() or 1
  cores = sorted(os.sched_getaffinity(0))
  os.sched_setaffinity(0, cores[: count or len(cores)])
  return len(os.sched_getaffinity(0))


def _seconds(function: Callable[[], None]) -> float:
  start = time.perf_counter()
  function()
  return time.perf_counter() - start
