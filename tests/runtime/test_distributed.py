import numpy as np
import pytest
from absl import flags

from albert_jax.errors import InputError
from albert_jax.runtime import distributed


def gather(monkeypatch, *others: str):
  """Stands in for the other processes: their fingerprints join this one's."""

  def allgather(digest):
    digests = [np.frombuffer(distributed.hashlib.sha256(o.encode()).digest(), np.uint8) for o in others]
    return np.stack([digest, *digests])

  monkeypatch.setattr(distributed.multihost_utils, "process_allgather", allgather)


def test_processes_with_the_same_data_go_on(monkeypatch):
  distributed.check_same("data", "a")  # alone
  gather(monkeypatch, "a", "a")
  distributed.check_same("data", "a")


def test_a_process_with_other_data_stops_the_job(monkeypatch):
  gather(monkeypatch, "a", "b")
  with pytest.raises(InputError, match="The data of process 2 is not that of process 0"):
    distributed.check_same("data", "a")


def test_processes_wait_for_each_other_before_they_first_share_numbers(monkeypatch):
  """Otherwise one that prepares text for longer than 30 s ends a job on CPUs."""
  calls = []

  class Client:
    def wait_at_barrier(self, name, milliseconds):
      calls.append(name)
      assert milliseconds >= 3600 * 1000

  monkeypatch.setattr(distributed.jax_distributed.global_state, "client", Client())
  monkeypatch.setattr(distributed.multihost_utils, "process_allgather", lambda digest: calls.append("gather") or digest)
  distributed.check_same("data", "a")
  distributed.barrier()
  assert calls[1] == "gather"
  assert len({*calls}) == 3  # no barrier twice


def test_what_the_first_tells_is_exact():
  numbers = [1 / 3, float("-inf"), 7.0]
  assert distributed.broadcast_from_first(numbers) == numbers


@pytest.fixture
def started(monkeypatch) -> list:
  """Arguments of the calls of `jax.distributed.initialize`."""
  if not flags.FLAGS.is_parsed():
    flags.FLAGS.mark_as_parsed()
  for name in ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID", "SLURM_NTASKS"):
    monkeypatch.delenv(name, raising=False)
  calls = []
  monkeypatch.setattr(distributed.jax.distributed, "initialize", lambda *arguments, **_: calls.append(arguments))
  return calls


def test_one_process_needs_no_coordinator(started):
  distributed.initialize()
  assert started == []


def test_the_environment_names_the_processes(started, monkeypatch):
  for name, value in zip(distributed._VARIABLES, ("host:1", "4", "2")):
    monkeypatch.setenv(name, value)
  distributed.initialize()
  assert started == [("host:1", 4, 2)]


def test_an_incomplete_environment_is_refused(started, monkeypatch):
  monkeypatch.setenv("JAX_NUM_PROCESSES", "4")
  with pytest.raises(InputError, match="--coordinator_address"):
    distributed.initialize()


def test_a_launcher_s_job_finds_itself(started, monkeypatch):
  monkeypatch.setenv("SLURM_NTASKS", "2")
  distributed.initialize()
  assert started == [()]
