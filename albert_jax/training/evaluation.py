"""Evaluation: every row of a split exactly once, whatever the batch size and the mesh."""

from collections.abc import Mapping

import jax

from albert_jax.runtime.supervisor import Supervisor
from albert_jax.training.device_batches import device_batches
from albert_jax.training.log.metrics import MetricAccumulator
from albert_jax.training.program import Program
from albert_jax.training.sharding import batch_shards
from albert_jax.training.task import Outputs, Rows

Results = dict[str, dict[str, float]]  # metrics by split


def evaluate(
  program: Program, params, evaluations: Mapping[str, Rows], supervisor: Supervisor | None = None
) -> Results:
  """Metrics of each split.

  Raises:
    Stop: as `Supervisor.check`, which is called after each batch.
  """
  supervisor = supervisor or Supervisor()
  results = {}
  for split, rows in evaluations.items():
    means, outputs = infer(program, params, rows, supervisor)
    with supervisor.slow():
      results[split] = score(program, split, means, outputs)
  return results


def score(program: Program, split: str, means: dict[str, float], outputs: Outputs) -> dict[str, float]:
  """The metrics of a split, from what `infer` gives."""
  return {**program.task.metrics(means), **program.task.scores(split, outputs)}


def infer(
  program: Program, params, rows: Rows, supervisor: Supervisor | None = None
) -> tuple[dict[str, float], Outputs]:
  """The means of the terms over all rows, and the outputs of each row."""
  supervisor = supervisor or Supervisor()
  sums, outputs = MetricAccumulator(), {}
  shards = batch_shards(program.mesh)
  size = -(-program.config.eval.batch_size // shards) * shards  # the last batch ends in empty rows
  for batch in device_batches(program, rows, 0, -(-rows.num_rows // size), size=size):
    with supervisor.slow():  # the first batch compiles
      terms, found = program.eval_step(params, batch)
      sums.add(jax.device_get(terms))
    for name, array in jax.device_get(found).items():
      outputs.setdefault(name, []).extend(array)
    supervisor.beat()
    supervisor.check()
  return sums.means(), {name: arrays[: rows.num_rows] for name, arrays in outputs.items()}
