import os
import time

import pytest

from albert_jax.data.examples.parallel_map import ordered_map
from albert_jax.errors import InputError

# The workers cannot import this file, so what they run is `eval` and the items are expressions.
PID = "__import__('os').getpid()"


def test_results_keep_the_order_of_the_items_in_other_processes():
  items = [f"[__import__('time').sleep({0.3 if i == 0 else 0}), {i}, {PID}]" for i in range(12)]
  results = list(ordered_map(eval, items, 2))
  assert [number for _, number, _ in results] == list(range(12))
  assert os.getpid() not in {pid for *_, pid in results}


def test_little_work_and_one_process_stay_here():
  assert set(ordered_map(eval, [PID] * 3, 2)) == {os.getpid()}
  assert set(ordered_map(eval, [PID] * 9, 1)) == {os.getpid()}


def test_work_in_flight_is_bounded_and_closing_stops_it():
  taken = []
  results = ordered_map(eval, (taken.append(i) or PID for i in range(100)), 2)
  worker = next(results)
  assert len(taken) <= 5
  results.close()
  assert len(taken) <= 5
  with pytest.raises(ProcessLookupError):
    os.kill(worker, 0)


def test_an_exception_in_a_worker_arrives_here_at_once():
  with pytest.raises(ZeroDivisionError):
    list(ordered_map(eval, [PID] * 4 + ["1 / 0"] + [PID] * 1000, 2))


def test_a_killed_worker_is_an_input_error():
  start = time.monotonic()
  with pytest.raises(InputError, match="use fewer processes"):
    list(ordered_map(eval, [PID] * 4 + ["__import__('os')._exit(9)"] + [PID] * 20, 2))
  assert time.monotonic() - start < 20
