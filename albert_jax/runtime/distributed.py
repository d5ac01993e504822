"""Joining the processes of a multi-host job."""

import hashlib
import importlib.util
import itertools
import os
import sys
import threading
from collections.abc import Sequence
from typing import NoReturn

import jax
import numpy as np
from absl import flags
from jax._src import distributed as jax_distributed  # the job's key-value store has no public name
from jax.experimental import multihost_utils

from albert_jax.errors import InputError
from albert_jax.runtime import preemption

_COORDINATOR = flags.DEFINE_string(
  "coordinator_address", None, "host:port of process 0. Found by itself on TPU pods and under Slurm or Open MPI."
)
_PROCESSES = flags.DEFINE_integer("num_processes", None, "Number of processes of the job.")
_PROCESS = flags.DEFINE_integer("process_id", None, "Number of this process, from 0.")

# Seconds without a heartbeat after which a process counts as dead, and JAX ends the others. A live migration may
# suspend a machine for 30 s, which must not end a job.
HEARTBEAT_TIMEOUT = 60

# Hours that processes wait for each other: one may still prepare text when another finds its copy ready. A dead process
# is noticed sooner, by its heartbeat.
_PATIENCE = 24
_meetings = itertools.count()

_VARIABLES = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")


def initialize() -> None:
  """Starts `jax.distributed` where the flags, the environment or the machine say that there is more than this process.

  In order: the flags, the variables JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID, a TPU virtual
  machine, Slurm and Open MPI. Must run before JAX touches a device.

  Raises:
    InputError: one or two of the three are given.
  """
  given = [_COORDINATOR.value, _PROCESSES.value, _PROCESS.value]
  address, processes, process = (
    os.environ.get(name) if value is None else value for name, value in zip(_VARIABLES, given)
  )
  if (address, processes, process) != (None, None, None):
    if None in (address, processes, process):
      raise InputError(
        "A job of several processes needs --coordinator_address, --num_processes and --process_id together "
        f"(or {', '.join(_VARIABLES)})."
      )
    jax.distributed.initialize(address, int(processes), int(process), heartbeat_timeout_seconds=HEARTBEAT_TIMEOUT)
  elif _on_tpu() or _under_launcher():
    jax.distributed.initialize(heartbeat_timeout_seconds=HEARTBEAT_TIMEOUT)


def barrier() -> None:
  """Waits until every process of the job has made the same call.

  On CPUs, the first collective over a set of devices fails if one process starts it more than 30 s after another.
  """
  client = jax_distributed.global_state.client
  if client is not None:
    client.wait_at_barrier(f"albert_jax/{next(_meetings)}", _PATIENCE * 3600 * 1000)


def check_same(what: str, fingerprint: str) -> None:
  """Raises InputError unless every process of the job has the same fingerprint."""
  digest = np.frombuffer(hashlib.sha256(fingerprint.encode()).digest(), np.uint8)
  barrier()
  everyone = multihost_utils.process_allgather(digest).reshape(-1, digest.size)
  different = np.flatnonzero((everyone != everyone[0]).any(axis=1))
  if different.size:
    raise InputError(
      f"The {what} of process {different[0]} is not that of process 0 (here: {fingerprint}): give all the same text, "
      "tokenizer and library versions, or a data.cache_dir that they share."
    )


def value_of_first(value: bool) -> bool:
  """The value of process 0: files may look different to another machine."""
  return bool(multihost_utils.broadcast_one_to_all(np.bool_(value)))


def broadcast_from_first(numbers: Sequence[float]) -> list[float]:
  """The numbers of process 0, bit for bit: JAX's own broadcast would round them to float32."""
  bits = multihost_utils.broadcast_one_to_all(np.asarray(numbers, np.float64).view(np.uint32))
  return np.asarray(bits).view(np.float64).tolist()


def exit_process(status: int) -> NoReturn:
  """Ends a process that failed.

  In a job of several processes it leaves at once: the usual way out waits for the others, and they wait for this one.
  """
  if jax_distributed.global_state.num_processes > 1:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
  sys.exit(status)


def peers() -> preemption.Peers:
  """The processes of this job, for `preemption`."""
  state = jax_distributed.global_state
  if state.num_processes == 1:
    return preemption.Alone()
  return _Job(state.client, state.process_id, state.num_processes)


class _Job:
  """Processes that share the key-value store of `jax.distributed`."""

  def __init__(self, client, process: int, processes: int):
    self._client, self._process, self._processes = client, process, processes

  def tell(self) -> None:
    self._client.key_value_set("preemption/notice", str(self._process), allow_overwrite=True)

  def wait(self, over: threading.Event) -> bool:
    while not over.wait(1.0):
      try:
        self._client.key_value_try_get("preemption/notice")
        return True
      except jax.errors.JaxRuntimeError as error:
        if "NOT_FOUND" not in str(error):  # process 0 is gone
          return False
    return False

  def gather(self, value: int) -> list[int]:
    self._client.key_value_set(f"preemption/{self._process}", str(value))
    keys = (f"preemption/{process}" for process in range(self._processes))
    return [int(self._client.blocking_key_value_get(key, 30_000)) for key in keys]


def _on_tpu() -> bool:
  installed = importlib.util.find_spec("libtpu") is not None
  devices = any(os.path.exists(path) for path in ("/dev/accel0", "/dev/vfio/0"))
  return installed and devices and os.environ.get("JAX_PLATFORMS", "tpu").startswith("tpu")


def _under_launcher() -> bool:
  return any(int(os.environ.get(name, 1)) > 1 for name in ("SLURM_NTASKS", "OMPI_COMM_WORLD_SIZE"))
