"""The supervisor, with a shell command in the place of a training run."""

import signal
import subprocess
import sys
import time

import pytest

from tests.builders import ROOT

# Counts its starts in the file `starts`, then does what is asked for.
START = 'cd "$1"; n=$(($(cat starts 2>/dev/null || echo 0) + 1)); echo $n > starts; '

# Whoever starts the tests in the background has SIGINT ignored, which no shell below can trap.
HEED = "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execv(sys.argv[1], sys.argv[1:])"


def supervise(folder, script: str, path: str = "/usr/bin:/bin") -> subprocess.Popen:
  command = [ROOT / "scripts" / "supervise.sh", folder, "bash", "-c", START + script, "run", folder]
  environment = {"PATH": path, "RETRIES": "2", "DELAY": "0"}
  return subprocess.Popen([sys.executable, "-ISc", HEED, *command], env=environment, stderr=subprocess.PIPE, text=True)


def starts(folder) -> int:
  return int((folder / "starts").read_text())


@pytest.mark.parametrize(
  ("script", "status", "expected"),
  [
    ("exit 0", 0, 1),
    ("exit 2", 2, 1),  # a user's mistake stays one
    ("((n < 3)) && exit 75; exit 0", 0, 3),
    ("((n == 1)) && kill -KILL $$; exit 0", 0, 2),
    ("exit 1", 1, 3),  # two restarts without a checkpoint
    ("mkdir -p checkpoints/$n; ((n < 6)) && exit 1; exit 0", 0, 6),  # each with one
    ("mkdir -p seed_1/checkpoints/$n; ((n < 6)) && exit 1; exit 0", 0, 6),
    ("mkdir -p best/$n checkpoints/9.tmp$n; exit 1", 1, 3),
  ],
)
def test_restarts(tmp_path, script, status, expected):
  job = supervise(tmp_path, script)
  _, told = job.communicate(timeout=30)
  assert (job.returncode, starts(tmp_path)) == (status, expected), told


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_goes_to_the_command_and_its_status_is_final(tmp_path, number):
  job = supervise(tmp_path, "trap 'echo got >> signals; exit 75' TERM INT; touch ready; while :; do sleep 0.02; done")
  while not (tmp_path / "ready").exists():
    time.sleep(0.02)
  job.send_signal(number)
  assert job.wait(timeout=30) == 75
  assert starts(tmp_path) == 1
  assert (tmp_path / "signals").read_text() == "got\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_before_the_command_starts_is_not_lost(tmp_path, number):
  """While the supervisor looks for checkpoints its traps have to wait."""
  slow = tmp_path / "bin" / "find"
  slow.parent.mkdir()
  slow.write_text('#!/bin/bash\ntouch "$1/looking"; sleep 0.3; exec /usr/bin/find "$@"')
  slow.chmod(0o755)
  job = supervise(tmp_path, "sleep 60", path=f"{slow.parent}:/usr/bin:/bin")
  while not (tmp_path / "looking").exists():
    time.sleep(0.02)
  job.send_signal(number)
  assert job.wait(timeout=30) == 128 + number
  assert not (tmp_path / "starts").exists()


def test_the_usage(tmp_path):
  result = subprocess.run([ROOT / "scripts" / "supervise.sh", tmp_path], capture_output=True, text=True)
  assert result.returncode == 2
  assert "WORKDIR COMMAND" in result.stderr
