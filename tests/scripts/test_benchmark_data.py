import pathlib
import re
import subprocess
import sys

SCRIPT = pathlib.Path(__file__).parents[2] / "scripts" / "benchmark_data.py"


def run(*arguments):
  return subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True, check=False)


def test_prints_a_rate_for_every_stage():
  done = run("--max_length=32", "--rows=4", "--batches=2", "--packing=2", "--workers=0")
  assert done.returncode == 0, done.stderr
  assert re.match(r"[\d,]+ rows of 32 an epoch; they are [\d.]+% full, [\d.]+ bytes a token\n", done.stdout)
  rates = re.findall(r"^ *(\w[\w ]*): +([\d.]+) M tokens/s$", done.stdout, re.M)
  stages = ["plan", "read", "assemble", "place", "mask", "all stages", "to device", "threads"]
  assert [name for name, _ in rates] == stages


def test_bad_settings_end_with_status_2():
  done = run("--mask_rate=2")
  assert done.returncode == 2
  assert "mask_rate=2.0" in done.stderr
  assert "Traceback" not in done.stderr
