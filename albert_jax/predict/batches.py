"""Sequences of any lengths as batches of few shapes, and results in the order that was asked for."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping

import jax
import numpy as np

from albert_jax.data.finetuning.encode import Sequences
from albert_jax.data.finetuning.rows import LabelledRows, RowSettings
from albert_jax.data.tokenizers.base import Tokenizer
from albert_jax.errors import InputError

SHORTEST = 8  # positions of the shortest rows
Batch = dict[str, np.ndarray]
Results = list[tuple[np.ndarray, ...]]


def run(
  forward: Callable[[Batch], tuple[jax.Array, ...]],
  sequences: Sequences,
  tokenizer: Tokenizer,
  *,
  max_length: int,
  batch_size: int,
  fields: Mapping[str, np.ndarray] | None = None,
) -> Results:
  """The output of `forward` for each of the X sequences, in their order.

  Args:
    forward: from a batch to arrays [B, ...].
    sequences: none is longer than `max_length`.
    tokenizer: gives the special ids.
    max_length: positions of a row at most.
    batch_size: rows at most; the least power of two that holds all sequences, where they are fewer.
    fields: more fields of a batch, [X, ...] each.
  """
  if batch_size < 1:
    raise InputError(f"batch_size must be at least 1, not {batch_size}.")
  results: Results = [()] * len(sequences)
  before = None
  for index, batch in _batches(sequences, tokenizer, max_length, min(batch_size, power_of_two(len(sequences)))):
    batch |= {name: _fill_up(values[index], len(batch["tokens"])) for name, values in (fields or {}).items()}
    now = index, forward(batch)
    if before:  # fetched one batch late, so that the device always has one to work on
      _store(results, *before)
    before = now
  if before:
    _store(results, *before)
  return results


def power_of_two(number: int) -> int:
  """The least one that is not below a number."""
  return 1 << max(0, number - 1).bit_length()


def _batches(
  sequences: Sequences, tokenizer: Tokenizer, max_length: int, size: int
) -> Iterator[tuple[np.ndarray, Batch]]:
  """Numbers of sequences, and the batch that they are in; the longest come first."""
  if not len(sequences):
    return
  order = np.argsort(-sequences.lengths, kind="stable")
  ordered = dataclasses.replace(sequences, starts_X2=sequences.starts_X2[order], sizes_X2=sequences.sizes_X2[order])
  rows = LabelledRows(ordered, {}, tokenizer, RowSettings(max_length), shuffle=False)
  for number in range(-(-len(order) // size)):
    batch = rows.batch(number, size)
    del batch["weights"]
    length = batch["tokens"].shape[1]
    more = min(max(SHORTEST, power_of_two(length)), max_length) - length
    yield (
      order[number * size : (number + 1) * size],
      {name: np.pad(values_BT, ((0, 0), (0, more))) for name, values_BT in batch.items()},
    )


def _fill_up(values: np.ndarray, rows: int) -> np.ndarray:
  return np.pad(values, [(0, rows - len(values)), *[(0, 0)] * (values.ndim - 1)])


def _store(results: Results, index: np.ndarray, outputs: tuple[jax.Array, ...]) -> None:
  for number, *values in zip(index, *jax.device_get(outputs)):
    results[number] = tuple(values)
