"""Joining the processes of a multi-host job."""

import hashlib
import importlib.util
import os

import jax
import numpy as np
from absl import flags
from jax.experimental import multihost_utils

from albert_jax.errors import InputError

_COORDINATOR = flags.DEFINE_string(
  "coordinator_address", None, "host:port of process 0. Found by itself on TPU pods and under Slurm or Open MPI."
)
_PROCESSES = flags.DEFINE_integer("num_processes", None, "Number of processes of the job.")
_PROCESS = flags.DEFINE_integer("process_id", None, "Number of this process, from 0.")

_VARIABLES = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")


def initialize() -> None:
  """Starts `jax.distributed` where the flags, the environment or the machine say that there is more than this process.

  In order: the flags, the variables JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID, a TPU virtual
  machine, Slurm and Open MPI. Must run before JAX touches a device.

  Raises:
    InputError: some of the three are given, but not all.
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
    jax.distributed.initialize(address, int(processes), int(process))
  elif _on_tpu() or _under_launcher():
    jax.distributed.initialize()


def check_same(what: str, fingerprint: str) -> None:
  """Raises InputError unless every process of the job has the same fingerprint."""
  digest = np.frombuffer(hashlib.sha256(fingerprint.encode()).digest(), np.uint8)
  everyone = multihost_utils.process_allgather(digest).reshape(-1, digest.size)
  different = np.flatnonzero((everyone != everyone[0]).any(axis=1))
  if different.size:
    raise InputError(
      f"The {what} of process {different[0]} is not that of process 0 (here: {fingerprint}): give all the same text, "
      "tokenizer and library versions, or a data.cache_dir that they share."
    )


def _on_tpu() -> bool:
  installed = importlib.util.find_spec("libtpu") is not None
  devices = any(os.path.exists(path) for path in ("/dev/accel0", "/dev/vfio/0"))
  return installed and devices and os.environ.get("JAX_PLATFORMS", "tpu").startswith("tpu")


def _under_launcher() -> bool:
  return any(int(os.environ.get(name, 1)) > 1 for name in ("SLURM_NTASKS", "OMPI_COMM_WORLD_SIZE"))
