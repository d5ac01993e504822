"""Batches on the devices, made ahead of the step that uses them."""

from collections.abc import Iterator

import numpy as np

from albert_jax.data.loader import prefetch
from albert_jax.training.program import Program
from albert_jax.training.sharding import local_rows, to_devices
from albert_jax.training.task import Batch, Rows


def device_batches(program: Program, rows: Rows, start: int, stop: int, *, size: int) -> Iterator[Batch]:
  """Batches start … stop − 1 on the devices, one ahead of the step that uses them.

  Args:
    program: gives mesh and config.
    rows: of which this process makes its own part of each batch.
    start: first batch.
    stop: one past the last.
    size: rows in a global batch.
  """
  first_row, last_row = local_rows(program.batch_sharding, size)

  def make(step: int) -> dict[str, np.ndarray]:
    return rows.batch(step, size, first_row, last_row)

  data = program.config.data
  ahead = None
  for local in prefetch(make, start, stop, workers=data.workers, buffer=data.prefetch):
    batch = to_devices(local, program.batch_sharding, size)
    if ahead is not None:
      yield ahead
    ahead = batch
  if ahead is not None:
    yield ahead
