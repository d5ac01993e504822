import collections
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from albert_jax.data.loader import prefetch
from albert_jax.errors import InputError
from tests.builders import ROOT


def fail_at_seven(step):
  if step == 7:
    raise InputError("step 7 is damaged")
  return {"step": np.array([step])}


def assert_idle():
  """No process is left, nor any thread that makes batches; threads end at once, but on their own."""
  assert not multiprocessing.active_children()
  for thread in threading.enumerate():
    if thread.name.startswith("grain-prefetch"):
      thread.join(timeout=5)
      assert not thread.is_alive()


@pytest.mark.parametrize("workers", [0, 2])
def test_prefetch_keeps_the_order_and_stops(workers):
  batches = list(prefetch(lambda step: {"step": np.full(3, step)}, 3, 12, workers=workers, buffer=2))
  np.testing.assert_array_equal([batch["step"] for batch in batches], np.repeat(np.arange(3, 12), 3).reshape(9, 3))
  assert_idle()


@pytest.mark.parametrize("workers", [0, 1])
def test_prefetch_raises_what_make_raises(workers):
  batches = prefetch(fail_at_seven, 5, 20, workers=workers, buffer=2)
  assert [next(batches)["step"].item() for _ in range(2)] == [5, 6]
  with pytest.raises(InputError, match="step 7 is damaged"):
    next(batches)
  assert_idle()


@pytest.mark.parametrize("workers", [0, 1])
def test_closing_leaves_nothing_behind(workers):
  batches = prefetch(lambda step: {"step": np.array([step])}, 0, 10**9, workers=workers, buffer=2)
  next(batches)
  batches.close()
  assert_idle()


def test_prefetch_of_nothing():
  assert list(prefetch(fail_at_seven, 5, 5, workers=0, buffer=2)) == []


def slow_step(step):
  time.sleep(0.01)
  return {"step": np.array([step])}


def test_a_killed_worker_ends_the_batches():
  batches = prefetch(slow_step, 0, 10**9, workers=2, buffer=2)
  next(batches)
  os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)
  with pytest.raises(RuntimeError, match="Worker process was terminated unexpectedly with exit code -9"):
    collections.deque(batches, maxlen=0)
  assert_idle()


ENDLESS = """
import collections, multiprocessing
from albert_jax.data.loader import prefetch

def make(step):
  return {}

if __name__ == "__main__":
  batches = prefetch(make, 0, 10**9, workers=2, buffer=2)
  for _ in range(2):  # one from each
    next(batches)
  print(*(child.pid for child in multiprocessing.active_children()), flush=True)
  collections.deque(batches, maxlen=0)
"""


def is_alive(pid: int) -> bool:
  try:
    with open(f"/proc/{pid}/stat") as file:
      return file.read().rpartition(")")[2].split()[0] != "Z"
  except FileNotFoundError:
    return False


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="reads /proc")
def test_workers_leave_signals_to_their_parent_and_end_with_it(tmp_path):
  (tmp_path / "endless.py").write_text(ENDLESS)
  environment = {**os.environ, "PYTHONPATH": str(ROOT)}
  with subprocess.Popen([sys.executable, tmp_path / "endless.py"], env=environment, stdout=subprocess.PIPE) as job:
    pids = [int(pid) for pid in job.stdout.readline().split()]
    assert len(pids) == 2
    try:
      for number in (signal.SIGINT, signal.SIGTERM):
        for pid in pids:
          os.kill(pid, number)
      time.sleep(0.5)
      assert all(map(is_alive, pids))
      job.kill()
      for _ in range(100):
        if not any(map(is_alive, pids)):
          break
        time.sleep(0.1)
      assert not any(map(is_alive, pids))
    finally:
      for pid in [job.pid, *pids]:
        if is_alive(pid):
          os.kill(pid, signal.SIGKILL)
