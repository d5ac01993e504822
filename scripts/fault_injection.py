"""Kills and preempts small training runs at random moments, and holds what they end as against unbroken ones.

    python scripts/fault_injection.py --kills=50 --terms=10 --output=faults.json

Every run must end with the parameters and the optimizer's state of the unbroken run, bit for bit, having made the same
rows at the same steps. `--processes=2` does it to jobs of two processes; `--moves` stops runs, and goes on with another
mesh and another number of processes. The moments are drawn uniformly, every other one over the time that the unbroken
run takes, and the rest over its steps, which are the shorter part.
`--stops=N` freezes processes of a job (SIGSTOP), as when a machine hangs. `--damage` damages each file of a checkpoint
in turn, `--full_disk` lets runs fill a small tmpfs (root only); both are in `disk_faults.py`.
Works on a CPU; each start is a fork of this program, which has imported everything and started nothing.
"""

import collections
import dataclasses
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import disk_faults
from absl import flags
from observed_run import LOG, PHASE, ROWS, STATES, Job, start

from albert_jax import cli

_KILLS = flags.DEFINE_integer("kills", 50, "SIGKILLs.")
_TERMS = flags.DEFINE_integer("terms", 10, "SIGTERMs.")
_STOPS = flags.DEFINE_integer("stops", 0, "SIGSTOPs; only where there are several processes to notice them.")
_DEVICES = flags.DEFINE_integer("devices", 1, "Fake devices of a process.")
_PROCESSES = flags.DEFINE_integer("processes", 1, "Processes of a job; a random one of them gets the signal.")
_PER_RUN = flags.DEFINE_integer("per_run", 5, "Signals to a run before it may end.", lower_bound=1)
_STEPS = flags.DEFINE_integer("steps", 24, "Steps of a run; each is saved, every eighth is evaluated.")
_MOVES = flags.DEFINE_bool("moves", False, "Also resume on other meshes and with other numbers of processes.")
_DAMAGE = flags.DEFINE_bool("damage", False, "Also damage each file of a checkpoint.")
_FULL_DISK = flags.DEFINE_bool("full_disk", False, "Also fill a small tmpfs, which only root may mount.")
_SEED = flags.DEFINE_integer("seed", 0, "Of the moments.")
_SOURCE = flags.DEFINE_string("source", "pydoc:optax", "Text to train on.")
_OUTPUT = flags.DEFINE_string("output", None, "JSON file for the figures.")
_LIMIT = 900.0  # seconds that a job may take at most, also to notice that a process is gone


@dataclasses.dataclass
class Fault:
  """One signal and what came of it: the phase it met, the processes' statuses, and how long they took to end."""

  signal: str
  phase: str
  statuses: list[int]
  seconds: float
  mid_save: bool


def main(_: list[str]) -> None:
  """Runs what the flags ask for; the last line says whether all was equal."""
  random.seed(_SEED.value)
  folder = tempfile.mkdtemp(prefix="faults_")  # no TemporaryDirectory, which a forked process would remove
  try:
    bench = Bench(Path(folder))
    report = {"reference_seconds": bench.seconds, "steps": _STEPS.value, "processes": _PROCESSES.value}
    for name, count in (("SIGKILL", _KILLS.value), ("SIGTERM", _TERMS.value), ("SIGSTOP", _STOPS.value)):
      if count:
        report[name] = bench.strike_runs(name, count)
    if _MOVES.value:
      report |= {name: bench.move(name, parts) for name, parts in PLANS.items()}
    if _DAMAGE.value:
      report["damage"] = disk_faults.damage_files(bench)
    if _FULL_DISK.value:
      report["full disk"] = disk_faults.fill_disks(bench)
  finally:
    shutil.rmtree(folder)
  if _OUTPUT.value:
    Path(_OUTPUT.value).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
  equal = all(part["equal"] for part in report.values() if isinstance(part, dict))
  print("all equal" if equal else "NOT EQUAL")
  sys.exit(not equal)


# (data, fsdp) and processes of each part of a run.
PLANS = {
  "meshes": [((8, 1), 1), ((4, 2), 1), ((2, 4), 1), ((1, 1), 1)],
  "processes": [((1, 1), 1), ((2, 1), 2), ((4, 1), 4), ((1, 1), 1)],
}


class Bench:
  """A folder of runs, and the unbroken one that they must equal."""

  def __init__(self, folder: Path):
    self.folder, self._count = folder, 0
    self._options = [
      f"--config.data.source={_SOURCE.value}",
      f"--config.data.cache_dir={folder / 'cache'}",
      f"--config.train.steps={_STEPS.value}",
      *("--config.model.dropout=0.1", "--config.model.attention_dropout=0.1", "--config.train.timeout=600"),
      *("--config.checkpoint.every=1", "--config.checkpoint.keep=3", "--config.eval.every=8"),
    ]
    for _ in range(2):  # the first also prepares the text and fills the cache of compiled programs
      began, self.reference = time.monotonic(), self.new_run()
      job = self._start(self.reference, _PROCESSES.value, devices=_DEVICES.value)
      _wait_for_steps(job, self.reference)
      steps_began = time.monotonic()
      if any(job.wait(_LIMIT)):
        raise RuntimeError(f"the unbroken run failed: {_tail(self.reference)}")
      self.seconds, self._step_seconds = time.monotonic() - began, time.monotonic() - steps_began

  def strike_runs(self, name: str, count: int) -> dict:
    """Sends `count` signals to as many runs as that takes; each run then finishes, and is compared."""
    faults, problems, runs = [], [], 0
    while len(faults) < count:
      run, runs = self.new_run(), runs + 1
      for number in range(min(_PER_RUN.value, count - len(faults))):
        fault = self._strike(run, name, in_steps=number % 2 == 1)
        if fault is None:  # the run was over first
          break
        faults.append(fault)
        print(f"{len(faults):>4} {fault}", flush=True)
      statuses = self.finish(run)
      problems += [f"{run.name} ended with {statuses}"] * any(statuses) + self.differences(run)
    return summarise(faults, runs, problems)

  def move(self, name: str, parts: list) -> dict:
    """Stops a run every few steps and goes on elsewhere: the state must arrive as it left."""
    run, last, problems = self.new_run(), None, []
    for number, ((data, fsdp), processes) in enumerate(parts, 1):
      stop = _STEPS.value * number // len(parts) if number < len(parts) else 0
      (run / STATES).unlink(missing_ok=True)
      mesh = [f"--config.mesh.data={data}", f"--config.mesh.fsdp={fsdp}"]
      statuses = self._start(run, processes, mesh, devices=data * fsdp // processes, stop=stop).wait(_LIMIT)
      first, *_, end = map(json.loads, (run / STATES).read_text().splitlines())
      print(
        f"     {name}: {data}x{fsdp}, {processes} processes, {first['step']} to {end['step']}, {statuses}", flush=True
      )
      problems += [f"{data}x{fsdp}: {first} is not {last}"] * (last not in (None, first))
      last = end
    problems += self._row_differences(run)
    losses = [_losses(folder) for folder in (self.reference, run)]
    worst = max(abs(losses[1][step] / loss - 1) for step, loss in losses[0].items())
    return {"parts": parts, "loss_difference": worst, "equal": not problems, "problems": problems}

  def new_run(self) -> Path:
    """An empty folder for a run."""
    self._count += 1
    run = self.folder / f"run{self._count}"
    run.mkdir()
    return run

  def finish(self, run: Path, options=(), **more) -> list[int]:
    """Starts a run, or goes on with it, and waits for its end; the statuses of its processes."""
    return self._start(run, _PROCESSES.value, options, devices=_DEVICES.value, **more).wait(_LIMIT)

  def differences(self, run: Path) -> list[str]:
    """In what a run's end and rows are not those of the unbroken run."""
    ends = [(folder / STATES).read_text().splitlines()[-1] for folder in (run, self.reference)]
    return [f"{run.name}: {ends[0]} is not {ends[1]}"] * (ends[0] != ends[1]) + self._row_differences(run)

  def _start(self, run: Path, processes: int, options=(), **more) -> Job:
    return start(run, processes, [*self._options, *options], self.folder / "compiled", **more)

  def _strike(self, run: Path, name: str, *, in_steps: bool) -> Fault | None:
    job = self._start(run, _PROCESSES.value, devices=_DEVICES.value)
    if in_steps:
      _wait_for_steps(job, run)
    time.sleep(random.uniform(0, self._step_seconds if in_steps else self.seconds))
    phase = (run / PHASE).read_text().strip() if (run / PHASE).exists() else ""
    struck_at, struck = time.monotonic(), random.choice(job.pids)
    if job.poll() is not None or not _send(struck, name):
      if any(statuses := job.wait(_LIMIT)):
        raise RuntimeError(f"{run.name} ended with {statuses} before the signal: {_tail(run)}")
      self.seconds *= 0.7  # the machine has become faster
      self._step_seconds *= 0.7
      return None
    statuses = job.wait(_LIMIT, stopped=struck if name == "SIGSTOP" else None)
    unfinished = any("tmp" in path.name for path in run.glob("checkpoints/*"))
    return Fault(name, phase or "start", statuses, round(time.monotonic() - struck_at, 2), unfinished)

  def _row_differences(self, run: Path) -> list[str]:
    rows, expected = (_rows(folder / ROWS) for folder in (run, self.reference))
    return [f"{run.name}: its {len(rows)} rows are not the {len(expected)} of the unbroken run"] * (rows != expected)


def _send(process: int, name: str) -> bool:
  """Sends a signal; False where the process has ended."""
  try:
    os.kill(process, signal.Signals[name])
  except ProcessLookupError:
    return False
  return True


def _tail(run: Path) -> str:
  return (run / LOG).read_text()[-3000:]


def _wait_for_steps(job: Job, run: Path) -> None:
  """Waits until the first step is compiled, or the job has ended."""
  phase = run / PHASE
  while job.poll() is None and not (phase.exists() and phase.read_text().strip() in ("train", "save", "eval")):
    time.sleep(0.02)


def summarise(faults: list[Fault], runs: int, problems: list[str]) -> dict:
  """The figures, and a table of them."""
  phases = collections.Counter(fault.phase for fault in faults)
  statuses = collections.Counter(str(sorted(fault.statuses)) for fault in faults)
  seconds = sorted(fault.seconds for fault in faults)
  result = {
    "signals": len(faults),
    "runs": runs,
    "phases": dict(phases),
    "left_unfinished_checkpoint": sum(fault.mid_save for fault in faults),
    "statuses": dict(statuses),
    "seconds_to_end": {"median": seconds[len(seconds) // 2], "max": seconds[-1]},
    "equal": not problems,
    "problems": problems,
  }
  for key, value in result.items():
    print(f"  {key:<28}{value}")
  return result


def _rows(path: Path) -> set[str]:
  """The rows made, each once where it was always the same; a kill may have cut a line."""
  return {line for line in path.read_text().splitlines() if len(line.split()) == 3 and len(line.split()[2]) == 64}


def _losses(run: Path) -> dict[int, float]:
  records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
  return {record["step"]: record["loss"] for record in records if record["split"] == "valid"}


if __name__ == "__main__":
  cli.run(main)
