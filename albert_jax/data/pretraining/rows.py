"""Batches as a pure function of row numbers.

Rows are numbered without end: step s of a run with global batch size B consists of rows s*B … s*B + B-1. Nothing
depends on what was read before, on the number of processes or on the batch size, so a run resumes from its step alone.
"""

import dataclasses

import numpy as np

from albert_jax.data.loader import Batch
from albert_jax.data.pretraining.masking import choose_predictions, replace_tokens
from albert_jax.data.pretraining.packing import RowPlan
from albert_jax.data.pretraining.segments import Assembled, assemble
from albert_jax.data.pretraining.spec import BatchSettings, Vocabulary
from albert_jax.data.random import Stream, draw_bits
from albert_jax.errors import InputError

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
      shuffle: training: rows go on without end, each epoch in a new order with new masks. Otherwise, for evaluation,
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
    """Makes rows first … last - 1 of batch `number`, whose rows are number*size … number*size + size - 1.

    `BatchSettings.shapes` gives the fields; unused places hold zeros or padding.
    """
    if not 0 <= first <= last <= size or number < 0:
      raise InputError(f"batch {number} of {size} rows has no rows {first} … {last} - 1")
    start, count = number * size + first, last - first
    batch = {k: np.zeros(*spec) for k, spec in self.settings.shapes(count).items()}
    batch["tokens"][:] = self._vocabulary.pad_id
    step = max(1, _BLOCK_TOKENS // self.settings.max_length)
    for done in range(0, count, step):
      block = {k: v[done : done + step] for k, v in batch.items()}
      self._fill(block, start + done)
    return batch

  def _fill(self, block: Batch, start: int):
    index_RN, planned_RN = self._plan.find_examples(start, start + len(block["tokens"]))
    if (index_RN < 0).all():
      return
    assembled = assemble(self._examples, index_RN, planned_RN, start, self._vocabulary, self.settings)
    place = place_examples(block, assembled)
    mask_rows(block, assembled, place, start, self._vocabulary, self.settings)


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
  bits = draw_bits(settings.seed, Stream.MASK, start, rows, row_length).ravel()[place]
  chosen = choose_predictions(assembled.tokens, assembled.types, assembled.lengths, bits, vocabulary, settings)
  if settings.whole_word:
    chosen = _add_single_tokens(chosen, assembled, bits, vocabulary, settings)
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


def _add_single_tokens(
  chosen: np.ndarray, assembled: Assembled, bits: np.ndarray, vocabulary: Vocabulary, settings: BatchSettings
) -> np.ndarray:
  """Chooses single tokens in rows where no whole word fits the budget, as in text without spaces.

  Other rows stay as they are, even where one of their examples has no prediction.
  """
  row = np.repeat(assembled.row, assembled.lengths)
  without = np.flatnonzero(~np.isin(row, row[chosen]))
  if not without.size:
    return chosen
  lengths = assembled.lengths[~np.isin(assembled.row, row[chosen])]
  tokens = choose_predictions(
    assembled.tokens[without],
    assembled.types[without],
    lengths,
    bits[without],
    vocabulary,
    dataclasses.replace(settings, whole_word=False),
  )
  return np.sort(np.concatenate([chosen, without[tokens]]))
