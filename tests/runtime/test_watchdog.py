import subprocess
import sys
import threading
import time

from albert_jax.runtime import watchdog
from tests.builders import ROOT


def run(body: str) -> subprocess.CompletedProcess:
  code = f"import time\nfrom albert_jax.runtime import watchdog\n{body}"
  return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)


def test_a_program_that_hangs_shows_where_and_ends():
  result = run("def stuck_input():\n  time.sleep(60)\nwith watchdog.watching(0.3):\n  stuck_input()")
  assert result.returncode == 124
  assert "nothing has happened for 0.3 s (train.timeout)" in result.stderr
  assert "in stuck_input" in result.stderr


def test_signs_of_life_and_slow_work_are_waited_for():
  body = """
with watchdog.watching(1.0) as dog:
  for _ in range(6):
    time.sleep(0.25)
    dog.beat()
  with dog.slow():
    time.sleep(1.5)
time.sleep(1.2)
print("done")
"""
  assert run(body).stdout == "done\n"


def test_after_slow_work_the_watch_goes_on():
  assert run("with watchdog.watching(0.3) as dog:\n  with dog.slow():\n    pass\n  time.sleep(60)").returncode == 124


def test_zero_is_off():
  before = threading.active_count()
  with watchdog.watching(0) as dog:
    dog.beat()
    with dog.slow():
      time.sleep(0.01)
    assert threading.active_count() == before
