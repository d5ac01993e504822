"""Training runs for `fault_injection.py`: forked, and telling what they do.

A folder of a run holds, beside what any run writes: the phase that it is in, the rows that it made with their
digests, and the digest of its state at the beginning and at the end.
"""

import atexit
import dataclasses
import hashlib
import json
import os
import runpy
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np

from albert_jax.checkpoints.manager import Checkpoints
from albert_jax.data.pretraining.rows import PretrainingRows
from albert_jax.runtime import preemption
from albert_jax.tasks.pretrain import PretrainTask
from albert_jax.training import loop
from albert_jax.training.compiled_step import CompiledStep

PHASE, ROWS, STATES, LOG = "phase", "rows.txt", "states.jsonl", "log"
ROOT = Path(__file__).resolve().parent.parent


class Job:
  """The processes of a run."""

  def __init__(self, pids: list[int]):
    self.pids = pids
    self._statuses: dict[int, int] = {}

  def poll(self) -> list[int] | None:
    """The statuses, once all have ended; a signal's number is negative."""
    for pid in {*self.pids} - {*self._statuses}:
      ended, status = os.waitpid(pid, os.WNOHANG)
      if ended:
        self._statuses[pid] = os.waitstatus_to_exitcode(status)
    return [self._statuses[pid] for pid in self.pids] if len(self._statuses) == len(self.pids) else None

  def wait(self, seconds: float, stopped: int | None = None) -> list[int]:
    """The statuses; those who do not end in time are killed, which shows in theirs; so is `stopped`, at the end."""
    end = time.monotonic() + seconds
    while self.poll() is None:
      left = {*self.pids} - {*self._statuses}
      if left == {stopped} or time.monotonic() > end:
        for pid in left:
          os.kill(pid, signal.SIGKILL)
      time.sleep(0.02)
    return self.poll()


def start(
  run: Path,
  processes: int,
  options: list[str],
  compiled: Path,
  *,
  devices: int = 1,
  stop: int = 0,
  workdir: Path | None = None,
) -> Job:
  """Starts a job.

  Args:
    run: its folder.
    processes: how many.
    options: flags of train.py.
    compiled: folder of compiled programs.
    devices: fake devices of each process.
    stop: the step to be saved and stopped at; 0 = none.
    workdir: by default the run's folder.
  """
  held = socket.socket()  # the processes inherit it, so that nobody else gets the port before gRPC, too, binds it
  held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
  held.bind(("", 0))
  address = f"--coordinator_address=localhost:{held.getsockname()[1]}"
  (run / PHASE).unlink(missing_ok=True)
  pids = []
  for process in range(processes):
    place = [address, f"--num_processes={processes}", f"--process_id={process}"] if processes > 1 else []
    config = f"--config={ROOT}/configs/albert_tiny.py:test"
    command = ["train.py", config, f"--workdir={workdir or run}", *options, *place]
    pids.append(fork(lambda command=command: _train(run, command, compiled, devices, stop)))
  held.close()
  return Job(pids)


def fork(function: Callable[[], int]) -> int:
  """Starts a process that calls a function and ends with the status that it returns; gives its id."""
  pid = os.fork()
  if not pid:
    status = 1
    try:
      status = function()
    except BaseException:
      traceback.print_exc()
    finally:
      sys.stderr.flush()
      os._exit(status)
  return pid


def _train(run: Path, command: list[str], compiled: Path, devices: int, stop: int) -> int:
  """What a forked process does; ends like any program, but for the copies of its parent's stack."""
  log = os.open(run / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
  os.dup2(log, 1)
  os.dup2(log, 2)
  jax.config.update("jax_num_cpu_devices", devices)
  jax.config.update("jax_disable_most_optimizations", True)  # of LLVM: here compiling takes longer than running
  jax.config.update("jax_compilation_cache_dir", str(compiled))
  jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
  _observe(run, stop)
  sys.argv = command
  status = 0
  try:
    runpy.run_path(str(ROOT / "train.py"), run_name="__main__")
  except SystemExit as error:
    status = error.code or 0
  sys.stdout.flush()
  sys.stderr.flush()
  atexit._run_exitfuncs()
  return status


def _observe(run: Path, stop: int) -> None:
  """Lets the program tell what it does, and stop at a step as if all had agreed on it."""
  phase = os.open(run / PHASE, os.O_WRONLY | os.O_CREAT)

  def within(name: str, function):
    def observed(*arguments, **more):
      os.pwrite(phase, f"{name:<8}".encode(), 0)
      try:
        return function(*arguments, **more)
      finally:
        os.pwrite(phase, b"train   ", 0)

    return observed

  advance, load = loop._advance, PretrainTask.load_data

  def observed_advance(under_way, *arguments):
    _tell_state(run, under_way.state)
    try:
      advance(under_way, *arguments)
    finally:
      _tell_state(run, under_way.state)

  def load_data(self):
    data = load(self)
    return dataclasses.replace(data, train=_ObservedRows(data.train, run / ROWS))

  CompiledStep.compile_for = within("compile", CompiledStep.compile_for)
  loop._advance = observed_advance
  loop.evaluate = within("eval", loop.evaluate)
  Checkpoints.save = within("save", Checkpoints.save)
  PretrainTask.load_data = load_data
  if stop:
    add = loop.StepLog.add

    def add_and_stop(self, number, terms):
      add(self, number, terms)
      if number == stop:
        raise preemption.Stop

    loop.StepLog.add = add_and_stop


class _ObservedRows:
  """Rows that write a line for each that is made: batch, row, digest."""

  def __init__(self, rows: PretrainingRows, path: Path):
    self._rows, self.num_rows = rows, rows.num_rows
    self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

  def batch(self, number: int, size: int, first: int, last: int) -> dict[str, np.ndarray]:
    batch = self._rows.batch(number, size, first, last)
    lines = (f"{number} {row} {digest({k: v[row - first] for k, v in batch.items()})}\n" for row in range(first, last))
    os.write(self._file, "".join(lines).encode())
    return batch


def _tell_state(run: Path, state) -> None:
  if jax.process_index() == 0:
    told = {"step": int(state.step), "params": digest(state.params), "opt": digest(state.opt)}
    with (run / STATES).open("a") as file:
      print(json.dumps(told), file=file)


def digest(tree) -> str:
  """sha256 of the bytes of all arrays."""
  hashed = hashlib.sha256()
  for leaf in jax.tree.leaves(tree):
    hashed.update(np.ascontiguousarray(leaf).tobytes())
  return hashed.hexdigest()
