"""Makes batches ahead of the steps that use them, in threads or in processes."""

import signal
from collections.abc import Callable, Iterator

import grain
import numpy as np
from absl import flags

from albert_jax.data.workers import follow_parent

Batch = dict[str, np.ndarray]


def prefetch(
  make: Callable[[int], Batch],
  start_step: int,
  stop_step: int,
  *,
  workers: int,
  buffer: int,
) -> Iterator[Batch]:
  """Makes the batches of steps start_step … stop_step - 1 ahead of time, in order.

  Args:
    make: step -> batch; picklable if there are workers.
    start_step: the first step.
    stop_step: the one after the last.
    workers: processes that make batches; 0 = threads of this process, which suffice where a core or two keep up
      (scripts/benchmark_data.py measures it), and save the copy between processes.
    buffer: batches that may be in the making or ready, for each worker; without workers, the number of threads too.

  Yields:
    The batches. An exception in `make` is raised here; closing the generator stops the workers.
  """
  if workers and not flags.FLAGS.is_parsed():
    flags.FLAGS.mark_as_parsed()  # Grain reads its flags when it starts a process; a notebook parses none.
  steps = grain.MapDataset.range(start_step, stop_step).map(make)
  threads = 0 if workers else buffer
  batches = steps.to_iter_dataset(grain.ReadOptions(num_threads=threads, prefetch_buffer_size=threads))
  if workers:
    options = grain.MultiprocessingOptions(num_workers=workers, per_worker_buffer_size=buffer)
    batches = batches.mp_prefetch(options, worker_init_fn=lambda *_: follow_parent(signal.SIGINT, signal.SIGTERM))
  iterator = iter(batches)
  try:
    yield from iterator
  finally:
    iterator.close()
