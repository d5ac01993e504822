"""Batches as a pure function of row numbers, and their prefetching.

Rows are numbered for ever: step s of a run with global batch size B consists of rows s*B … s*B + B-1. Nothing depends
on what was read before, on the number of processes or on the batch size, so a run resumes from its step alone.
"""

from collections.abc import Callable, Iterator

import grain
import numpy as np
from absl import flags

from albert_jax.data.pretraining.masking import choose_predictions, replace_tokens
from albert_jax.data.pretraining.packing import RowPlan
from albert_jax.data.pretraining.segments import Assembled, assemble
from albert_jax.data.pretraining.spec import BatchSettings, Vocabulary
from albert_jax.data.random import Stream, draw_bits
from albert_jax.errors import InputError

Batch = dict[str, np.ndarray]

ROWS_ALGORITHM = 2  # raise it when the same examples and settings give other rows

# Rows are made in blocks of about this many tokens: large enough to hide Python's cost, small enough for the cache.
_BLOCK_TOKENS = 2**16


class PretrainingRows:
  """Rows for pretraining, at random access.

  Attributes:
    num_rows: rows in one epoch.
    settings: the settings they are made with.
  """

  def __init__(self, examples, vocabulary: Vocabulary, settings: BatchSettings, *, shuffle: bool):
    """Plans the rows; reads only the examples' lengths.

    Args:
      examples: `Examples`, or `MemoryExamples`.
      vocabulary: ids of the tokenizer that the examples were made with.
      settings: how examples become rows.
      shuffle: training: rows go on for ever, each epoch in a new order with new masks. Otherwise, for evaluation,
        order and masks are fixed and the rows from `num_rows` on are empty.
    """
    if not len(examples):
      raise InputError("There are no examples to make rows of; prepare more text, or a larger split of it.")
    prepared = examples.metadata["settings"]["max_length"]
    if settings.packing * prepared < settings.max_length:
      raise InputError(
        f"max_length={settings.max_length}: the examples were prepared for {prepared}, and packing={settings.packing}"
        f" of them cannot fill a row. Prepare them for more, set"
        f" max_length={settings.packing * prepared}, or raise packing."
      )
    self._examples, self._vocabulary, self.settings = examples, vocabulary, settings
    self._plan = RowPlan(
      settings.planned_lengths(examples.lengths, examples.sentences),
      settings.max_length,
      settings.packing,
      seed=settings.seed,
      shuffle=shuffle,
    )
    self.num_rows = self._plan.num_rows

  def batch(self, number: int, size: int, first: int, last: int) -> Batch:
    """Makes rows first … last - 1 of batch `number`, whose rows are number*size … number*size + size - 1."""
    return self.rows(number * size + first, number * size + last)

  def rows(self, start: int, stop: int) -> Batch:
    """Makes rows start … stop - 1; `BatchSettings.shapes` gives the fields, unused places hold zeros or padding."""
    if not 0 <= start <= stop:
      raise InputError(f"rows({start}, {stop}) is not a range of row numbers")
    batch = {k: np.zeros(*spec) for k, spec in self.settings.shapes(stop - start).items()}
    batch["tokens"][:] = self._vocabulary.pad_id
    size = max(1, _BLOCK_TOKENS // self.settings.max_length)
    for first in range(start, stop, size):
      last = min(first + size, stop)
      block = {k: v[first - start : last - start] for k, v in batch.items()}
      self._fill(block, first, last)
    return batch

  def _fill(self, block: Batch, start: int, stop: int):
    index_RN = self._plan.find_examples(start, stop)
    if (index_RN < 0).all():
      return
    planned_RN = self._planned_lengths(index_RN)
    assembled = assemble(self._examples, index_RN, planned_RN, start, self._vocabulary, self.settings)
    place = place_examples(block, assembled)
    mask_rows(block, assembled, place, start, self._vocabulary, self.settings)

  def _planned_lengths(self, index_RN: np.ndarray) -> np.ndarray:
    if self.settings.packing == 1:
      return np.full(index_RN.shape, self.settings.max_length)
    return self.settings.planned_lengths(self._examples.lengths[index_RN], self._examples.sentences[index_RN])


def place_examples(block: Batch, assembled: Assembled) -> np.ndarray:
  """Writes examples side by side into their rows.

  Returns:
    [n] place of each token in the flattened rows.
  """
  row_length = block["tokens"].shape[1]
  lengths_RN = np.zeros(block["cls_positions"].shape, np.int64)
  lengths_RN[assembled.row, assembled.slot] = assembled.lengths
  begin_RN = np.cumsum(lengths_RN, axis=1) - lengths_RN
  begin = begin_RN[assembled.row, assembled.slot]
  first = assembled.row * row_length + begin
  place = np.repeat(first, assembled.lengths) + assembled.positions
  for key, values in (
    ("tokens", assembled.tokens),
    ("token_type_ids", assembled.types),
    ("positions", assembled.positions),
    ("example_ids", np.repeat(assembled.slot + 1, assembled.lengths)),
  ):
    block[key].reshape(-1)[place] = values
  at = assembled.row, assembled.slot
  block["cls_positions"][at] = begin
  block["pair_labels"][at] = assembled.pair_labels
  block["pair_weights"][at] = assembled.pair_weights
  return place


def mask_rows(block: Batch, assembled: Assembled, place, start, vocabulary, settings):
  """Masks placed examples, and writes the predictions in the order of their positions."""
  rows, row_length = block["tokens"].shape
  bits_RT = draw_bits(settings.seed, Stream.MASK, start, rows, row_length)
  chosen = choose_predictions(
    assembled.tokens,
    assembled.types,
    assembled.lengths,
    bits_RT.ravel()[place],
    vocabulary,
    settings,
  )
  row, position = np.divmod(place[chosen], row_length)
  slot = np.arange(len(row)) - np.searchsorted(row, row)
  slots = block["mlm_positions"].shape[1]
  bits_RM2 = draw_bits(settings.seed, Stream.REPLACE, start, rows, 2 * slots)
  labels = assembled.tokens[chosen]
  block["tokens"][row, position] = replace_tokens(
    labels, bits_RM2.reshape(rows, slots, 2)[row, slot], vocabulary, settings
  )
  block["mlm_positions"][row, slot] = position
  block["mlm_labels"][row, slot] = labels
  block["mlm_weights"][row, slot] = 1


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
    start_step, stop_step: the steps.
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
    batches = batches.mp_prefetch(grain.MultiprocessingOptions(num_workers=workers, per_worker_buffer_size=buffer))
  iterator = iter(batches)
  try:
    yield from iterator
  finally:
    iterator.close()
