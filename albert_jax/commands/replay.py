"""Repeats a step of a run, to look into it. Writes nothing."""

import hashlib
import json

import jax
import jax.numpy as jnp
import numpy as np

from albert_jax.checkpoints.manager import Checkpoints
from albert_jax.config import differences, load_config
from albert_jax.errors import InputError
from albert_jax.messages import say
from albert_jax.models.param import path_name
from albert_jax.runtime.distributed import check_same
from albert_jax.training.device_batches import device_batches
from albert_jax.training.init_from import Pretrained
from albert_jax.training.log.metrics import without_nan
from albert_jax.training.log.skips import step_metrics
from albert_jax.training.loop import new_state
from albert_jax.training.program import Program
from albert_jax.training.sharding import replicated
from albert_jax.training.step import TrainState, make_gradient
from albert_jax.training.task import Rows


def replay(program: Program, workdir: str, step: int, start: Pretrained | None = None) -> str:
  """Takes a step again as the run took it, from the newest checkpoint before it.

  With the run's config and devices every number is the run's own, bit for bit; a changed one (another dtype, say) is
  told, and shows what difference it makes.

  Args:
    program: of the run.
    workdir: of the run.
    step: the number that the log gives it: it leads from the state after step − 1 to that after `step`.
    start: where the run took its first parameters from.

  Returns:
    What went in and what came out; the last line is a JSON object.

  Raises:
    InputError: there is no such step, or no such run.
  """
  if not 1 <= step <= program.steps:
    raise InputError(f"--replay_step={step}: the run has the steps 1 to {program.steps}.")
  for key, (old, new) in differences(load_config(workdir), program.config).items():
    say(f"warning: {key} was {old} in {workdir}, here it is {new}")
  data = program.task.load_data()
  check_same("training data", data.fingerprint)
  state = _restore_before(step, program, workdir, start)
  first, size = int(state.step), program.config.train.batch_size
  for number, batch in enumerate(device_batches(program, data.train, first, step, size=size), first + 1):
    if number == step:
      counts = jax.device_get(_count_nonfinite(program)(state, batch, program.hyper))
    state, terms = program.train_step(state, batch, program.hyper)
  metrics = {name: float(value) for name, value in step_metrics(program.task, terms).items()}
  return _report(step, first, _digests(data.train, step - 1, size), metrics, counts)


def _count_nonfinite(program: Program):
  """Jitted: (state, batch, hyper) → for each parameter, how many of its and its gradient's entries are not finite."""
  microbatches = program.config.train.microbatches
  gradient = make_gradient(program.task, microbatches=microbatches, place_batch=program.place_batch)

  def count(state, batch, hyper):
    trees = {"parameter": state.params, "gradient": gradient(state, batch, hyper)[0]}
    return jax.tree.map(lambda leaf: jnp.sum(~jnp.isfinite(leaf)), trees)

  everywhere = replicated(program.mesh)
  in_shardings = (program.shardings, program.batch_sharding, everywhere)
  return jax.jit(program.placed(count), in_shardings=in_shardings, out_shardings=everywhere)


def _restore_before(step: int, program: Program, workdir: str, start: Pretrained | None) -> TrainState:
  checkpoints = Checkpoints(workdir, read_only=True)
  found = [int(path.name) for path in checkpoints.folder.iterdir() if path.name.isdecimal() and int(path.name) < step]
  first = max(found, default=0)
  say(f"from {f'the checkpoint of step {first}' if first else 'the beginning'}: {step - first} steps")
  return checkpoints.restore(program.state, first) if first else new_state(program, start, say)


def _digests(rows: Rows, number: int, size: int) -> dict[str, str]:
  """sha256 of each field of the whole batch, little-endian and row by row."""
  batch = rows.batch(number, size, 0, size)
  return {name: hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest() for name, array in batch.items()}


def _report(step: int, first: int, digests: dict[str, str], metrics: dict[str, float], counts: dict) -> str:
  names = [path_name(path) for path, _ in jax.tree_util.tree_leaves_with_path(counts["gradient"])]
  nonfinite = {kind: dict(zip(names, map(int, jax.tree.leaves(tree)))) for kind, tree in counts.items()}
  record = {"step": step, "batch": digests, "metrics": without_nan(metrics), "nonfinite": nonfinite}
  lines = [
    f"step {step}, batch {step - 1}, from step {first}; sha256 of the batch",
    *(f"  {name:<40}{digest}" for name, digest in digests.items()),
    "terms",
    *(f"  {name:<40}{value!r}" for name, value in metrics.items()),
    f"{'entries that are not finite, of the':<42}{'parameter':>12}{'gradient':>12}",
    *(f"  {name:<40}{nonfinite['parameter'][name]:>12,}{nonfinite['gradient'][name]:>12,}" for name in names),
    json.dumps(record),
  ]
  return "\n".join(lines)
