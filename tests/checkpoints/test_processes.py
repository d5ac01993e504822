"""Two processes on one machine agree on a checkpoint, whatever happens to its files."""

import json

from tests.builders import LIMIT, start_program

PROCESS = """
import json, os, sys
from typing import NamedTuple
import jax, jax.numpy as jnp, numpy as np
address, process, workdir = sys.argv[1], int(sys.argv[2]), sys.argv[3]
jax.distributed.initialize(address, 2, process)
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from albert_jax.errors import InputError
from albert_jax.checkpoints.manager import Checkpoints

class State(NamedTuple):
  step: jax.Array
  params: dict

split = NamedSharding(Mesh(np.array(jax.devices()), ("data",)), PartitionSpec("data"))
specs = State(
  jax.ShapeDtypeStruct([], jnp.int32, sharding=NamedSharding(split.mesh, PartitionSpec())),
  {"rows": jax.ShapeDtypeStruct([8, 4], jnp.float32, sharding=split)},
)
make = jax.jit(
  lambda step: State(step, {"rows": step + jnp.arange(32.0).reshape(8, 4)}),
  out_shardings=jax.tree.map(lambda leaf: leaf.sharding, specs),
)

def damage(step):
  multihost_utils.sync_global_devices("whole")
  if process == 0:
    folder = os.path.join(workdir, "checkpoints", str(step), "default", "ocdbt.process_1", "d")
    path = os.path.join(folder, sorted(os.listdir(folder))[0])
    data = bytearray(open(path, "rb").read())
    data[-1] ^= 1
    open(path, "wb").write(data)
  multihost_utils.sync_global_devices("damaged")

def save(state, step):
  checkpoints = Checkpoints(workdir, keep=3)
  checkpoints.latest()
  checkpoints.save(make(jnp.int32(state)), step)
  checkpoints.close()

def restore():
  checkpoints = Checkpoints(workdir)
  step = checkpoints.latest()
  state = checkpoints.restore(specs, step)
  rows = [np.asarray(shard.data) - np.arange(32.0).reshape(8, 4)[shard.index]
          for shard in state.params["rows"].addressable_shards]
  return [step, int(state.step), sorted({float(value) for part in rows for value in part.flat})]

told = [Checkpoints(workdir).latest()]
save(1, 1)
save(2, 2)
told.append(restore())
damage(2)
told.append(restore())
save(20, 2)
told.append(restore())
damage(1)
damage(2)
try:
  restore()
except InputError as error:
  told.append(str(error))
print(json.dumps(told))
"""


def test_two_processes_leave_out_the_same_checkpoint(coordinator, tmp_path):
  jobs = [start_program("-c", PROCESS, coordinator, str(process), str(tmp_path / "run")) for process in range(2)]
  outputs = [job.communicate(timeout=LIMIT) for job in jobs]
  assert [job.returncode for job in jobs] == [0, 0], "\n\n".join(stderr[:6000] for _, stderr in outputs)
  first, second = (json.loads(stdout.splitlines()[-1]) for stdout, _ in outputs)
  assert first[:-1] == second[:-1] == [None, [2, 2, [2.0]], [1, 1, [1.0]], [2, 20, [20.0]]]
  assert "All checkpoints in" in first[-1]
  assert "Process 0 refuses" in second[-1]
  warnings = [[line for line in stderr.splitlines() if "is now called" in line] for _, stderr in outputs]
  assert [len(lines) for lines in warnings] == [1, 0]
