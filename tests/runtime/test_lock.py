import os
import subprocess
import sys

import pytest

from albert_jax.errors import InputError
from albert_jax.runtime.lock import locked
from tests.builders import ROOT

HOLD = """
import sys, time
from albert_jax.runtime.lock import locked
with locked(sys.argv[1]):
  print("held", flush=True)
  time.sleep(60)
"""


def test_a_second_run_learns_who_has_the_folder_and_a_kill_frees_it(tmp_path):
  job = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
  assert job.stdout.readline() == "held\n"
  with pytest.raises(InputError, match=f"process {job.pid} on "), locked(str(tmp_path)):
    pass
  job.kill()
  job.wait()
  with locked(str(tmp_path)):
    assert f"process {os.getpid()} " in (tmp_path / ".lock").read_text()
  with locked(str(tmp_path)):
    pass
