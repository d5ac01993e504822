"""Notices, without JAX: the agreement of several processes, and programs that get signals."""

import queue
import signal
import subprocess
import sys
import threading
import time

import pytest

from albert_jax.runtime import preemption
from tests.builders import ROOT


class Shared:
  """Peers that are threads of one process."""

  def __init__(self, count: int):
    self.barrier, self.told, self.values = threading.Barrier(count), threading.Event(), queue.Queue()

  def tell(self):
    self.told.set()

  def wait(self, over) -> bool:
    while not over.wait(0.01):
      if self.told.is_set():
        return True
    return False

  def gather(self, value: int) -> list[int]:
    self.values.put(value)
    self.barrier.wait(10)
    return list(self.values.queue)


def test_processes_stop_at_the_same_point_which_none_had_passed():
  peers, stops = Shared(3), []
  processes = [preemption.Notices(peers) for _ in range(3)]
  for notices, passed in zip(processes, (5, 7, 6)):
    notices._counting = True
    for _ in range(passed):
      notices.check()
  processes[0].on_signal(signal.SIGTERM)
  for notices in processes:
    for _ in range(10000):
      try:
        notices.check()
      except preemption.Stop:
        stops.append(notices._passed)
        break
      if notices._stop_at is None:
        time.sleep(0.001)
  assert len(stops) == 3
  assert len({*stops}) == 1
  assert stops[0] >= 8


def test_no_thread_talks_to_the_others_once_the_program_is_over():
  asked = threading.Event()

  class Slow(Shared):
    talking = 0

    def wait(self, over):
      self.talking += 1
      told = super().wait(over)
      time.sleep(0.1)
      self.talking -= 1
      return told

    def gather(self, value):
      self.talking += 1
      asked.set()
      time.sleep(0.2)
      self.talking -= 1
      raise OSError("a peer is gone")

  for is_told in (False, True):
    peers = Slow(2)
    with preemption.handled(peers):
      if is_told:
        peers.tell()
        assert asked.wait(10)
    assert peers.talking == 0


def test_without_a_notice_nothing_happens():
  notices = preemption.Notices(preemption.Alone())
  with notices.graceful():
    for _ in range(20):
      notices.check()


def test_a_run_that_ends_before_the_point_still_ends_as_preempted():
  notices = preemption.Notices(preemption.Alone())

  def run():
    with notices.graceful():
      notices.check()
      notices.on_signal(signal.SIGTERM)

  with pytest.raises(SystemExit) as exit_:
    run()
  assert exit_.value.code == 75


PROGRAM = """
import ctypes, sys, time
from albert_jax.runtime import preemption
preemption.GRACE = 0.5

class Peers(preemption.Alone):
  def gather(self, value):
    if "slow" in sys.argv:
      preemption._ECHO = 0.1
      time.sleep(0.3)
    return [value]

with preemption.handled(Peers()) as notices:
  try:
    with notices.graceful():
      try:
        if "passed" in sys.argv:
          notices.check()
        print("ready", flush=True)
        if "busy" in sys.argv:  # as in a compilation, where no handler of Python's runs
          lock = (ctypes.c_char * 64)()
          [ctypes.CDLL(None).pthread_mutex_lock(lock) for _ in range(2)]
        while True:
          time.sleep(0.01)
          if "passed" in sys.argv:
            notices.check()
      except preemption.Stop:
        print("saved", flush=True)
        sys.exit(preemption.EXIT_CODE)
  finally:
    print("closed", flush=True)
"""


def signalled(*arguments: str, signals: list[int], pause: float = 0) -> tuple[int, str]:
  """Runs the program, sends it signals, and returns its status and what it printed."""
  job = subprocess.Popen([sys.executable, "-c", PROGRAM, *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True)
  assert job.stdout.readline() == "ready\n"
  for number in signals:
    job.send_signal(number)
    time.sleep(pause)
  output, _ = job.communicate(timeout=60)
  return job.returncode, output


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_at_the_next_point(number):
  assert signalled("passed", signals=[number]) == (75, "saved\nclosed\n")


def test_the_same_notice_twice_is_one():
  assert signalled("passed", signals=[signal.SIGTERM, signal.SIGTERM]) == (75, "saved\nclosed\n")


def test_with_nothing_to_save_the_program_unwinds():
  assert signalled(signals=[signal.SIGTERM]) == (75, "closed\n")


def test_the_signal_that_wakes_the_main_thread_is_no_second_notice():
  assert signalled("busy", "slow", signals=[signal.SIGTERM]) == (75, "")


def test_a_main_thread_that_is_busy_is_not_waited_for():
  assert signalled("busy", signals=[signal.SIGTERM]) == (75, "")


def test_a_second_signal_ends_it_at_once():
  status, output = signalled("passed", "busy", signals=[signal.SIGTERM, signal.SIGINT], pause=1.2)
  assert (status, output) == (128 + signal.SIGINT, "")


def test_handlers_are_put_back():
  before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
  with preemption.handled(preemption.Alone()):
    assert signal.getsignal(signal.SIGTERM) not in before
  assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before
