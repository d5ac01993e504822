import json
import os
import subprocess
import sys
import threading

import pytest

from albert_jax.lab import claims as claims_module
from albert_jax.lab.claims import Claims


def elsewhere(**more) -> Claims:
  """The claims of a worker on another machine."""
  found = Claims(**more)
  found.owner["host"] = "elsewhere"
  return found


def test_a_claim_is_held_by_one_worker_and_free_after_it(tmp_path):
  mine, theirs = Claims(), elsewhere()
  with mine.hold(tmp_path) as first, theirs.hold(tmp_path) as second:
    assert (first, second) == (True, False)
  with theirs.hold(tmp_path) as second:
    assert second
  assert len(list(tmp_path.iterdir())) == 2


def test_of_many_workers_one_gets_the_claim(tmp_path):
  barrier, winners = threading.Barrier(8), []

  def work(number: int):
    barrier.wait()
    with Claims().hold(tmp_path / "run") as is_mine:
      winners.extend([number] * is_mine)
      barrier.wait()

  threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
  [thread.start() for thread in threads]
  [thread.join() for thread in threads]
  assert len(winners) == 1


def test_the_claim_of_a_killed_worker_is_free_at_once_on_its_machine(tmp_path):
  code = "import pathlib, sys, time; from albert_jax.lab.claims import Claims\n"
  code += "with Claims().hold(pathlib.Path(sys.argv[1])): print('held', flush=True); time.sleep(600)"
  worker = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
  assert worker.stdout.readline() == "held\n"
  assert not Claims().is_free(tmp_path)
  worker.kill()
  worker.wait()
  assert Claims().is_free(tmp_path)
  with Claims().hold(tmp_path) as is_mine:
    assert is_mine


@pytest.mark.parametrize("text", [json.dumps({"host": "elsewhere", "pid": 1}), "", "{", "[1]"])
def test_a_silent_worker_elsewhere_is_dead_after_a_while(tmp_path, monkeypatch, text):
  now = 1000.0
  monkeypatch.setattr(claims_module.time, "monotonic", lambda: now)
  (tmp_path / "claim-3.json").write_text(text)
  mine = Claims(stale=60)
  assert not mine.is_free(tmp_path)
  now += 59
  assert not mine.is_free(tmp_path)
  (tmp_path / "claim-3.json").write_text(text + " ")  # a sign of life
  now += 59
  assert not mine.is_free(tmp_path)
  now += 61
  assert mine.is_free(tmp_path)
  with mine.hold(tmp_path):
    assert (tmp_path / "claim-4.json").exists()


def test_a_worker_shows_signs_of_life_and_learns_that_it_was_replaced(tmp_path):
  lost, beaten = threading.Event(), threading.Event()
  mine = Claims(beat=0.02, lost=lambda message: lost.set())
  with mine.hold(tmp_path):
    path = tmp_path / "claim-0.json"
    for _ in range(200):
      if json.loads(path.read_text() or "{}").get("beat", 0) > 1:
        beaten.set()
        break
      threading.Event().wait(0.02)
    assert beaten.is_set()
    (tmp_path / "claim-1.json").write_text("{}")
    assert lost.wait(10)


def test_processes_are_told_from_later_ones_with_their_number():
  mine = claims_module._process(os.getpid())
  assert isinstance(mine["started"], int)
  assert claims_module._process(2**22 + 1)["started"] is None
