"""Kills the workers of a lab at random moments, and compares its results with those of an undisturbed one.

    python scripts/lab_faults.py --lab=labs/sharing_table.py:test --folder=lab_faults

Three labs in FOLDER: `calm`; `killed`, whose only worker gets SIGKILL --kills times; and `shared` by two workers, one
of which gets SIGKILL once and does not come back. `results.json` must be the same in all, except for what was measured
on the clock, and every run must have been finished by one worker. Ends with status 1 where that is not so; the last
line is JSON.
"""

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from absl import flags

from albert_jax import cli

ROOT = Path(__file__).parent.parent

_LAB = flags.DEFINE_string("lab", "labs/sharing_table.py:test", "The lab.")
_FOLDER = flags.DEFINE_string("folder", "/tmp/lab_faults", "Where the three labs go; what is there is removed.")
_KILLS = flags.DEFINE_integer("kills", 5, "SIGKILLs.")
_SEED = flags.DEFINE_integer("seed", 0, "Of the moments.")


def main(_: list[str]) -> None:
  """Runs the three labs and prints what came out."""
  folder = Path(_FOLDER.value)
  shutil.rmtree(folder, ignore_errors=True)
  moments = random.Random(_SEED.value)
  start = time.monotonic()
  finish(folder / "calm")
  length = time.monotonic() - start
  kills = [moments.uniform(0.1, 0.9) * length for _ in range(_KILLS.value)]
  for seconds in kills:
    kill_after(seconds, worker(folder / "killed"))
  finish(folder / "killed")
  first, second = worker(folder / "shared"), worker(folder / "shared")
  kill_after(moments.uniform(0.3, 0.7) * length, first)
  second.wait()
  finish(folder / "shared")
  record = {"seconds": round(length), "kills_after": [round(seconds) for seconds in kills]}
  calm = results(folder / "calm")
  for name in ("killed", "shared"):
    record[name] = {"same_results": results(folder / name) == calm, "finished_twice": finished_twice(folder / name)}
  print(json.dumps(record))
  if not all(record[name]["same_results"] and not record[name]["finished_twice"] for name in ("killed", "shared")):
    sys.exit(1)


def worker(workdir: Path) -> subprocess.Popen:
  """Starts a worker; what it prints goes to a file beside the lab."""
  workdir.parent.mkdir(parents=True, exist_ok=True)
  log = workdir.with_suffix(".log").open("a", encoding="utf-8")
  command = [sys.executable, "lab.py", f"--lab={_LAB.value}", f"--workdir={workdir}"]
  return subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)


def finish(workdir: Path) -> None:
  """Starts a worker and waits for the end of the lab."""
  if worker(workdir).wait() != 0:
    sys.exit(f"{workdir} failed, see {workdir.with_suffix('.log')}")


def kill_after(seconds: float, process: subprocess.Popen) -> None:
  """SIGKILL, unless the worker has ended before."""
  try:
    process.wait(seconds)
  except subprocess.TimeoutExpired:
    process.send_signal(signal.SIGKILL)
    process.wait()


def results(workdir: Path) -> dict:
  """What `results.json` holds, without what was measured on the clock."""
  record = json.loads((workdir / "report" / "results.json").read_text(encoding="utf-8"))
  del record["measured"]
  return record


def finished_twice(workdir: Path) -> list[str]:
  """Runs that the log of the workers names as begun after they had ended; a run that goes on is named again."""
  lines = workdir.with_suffix(".log").read_text(encoding="utf-8").splitlines()
  ended = [line.split()[1] for line in lines if line.startswith("ended ")]
  return sorted({name for name in ended if ended.count(name) > 1})


if __name__ == "__main__":
  cli.run(main)
