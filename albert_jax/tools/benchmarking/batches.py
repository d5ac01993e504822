"""The batches of a benchmark: made once by the real pipeline, kept in a folder, the same for every contender.

Ours takes packed rows as they are. For the peers the same examples, with the same masks, are laid one to a row.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from albert_jax.data.loader import Batch
from albert_jax.data.pretraining.rows import PretrainingRows
from albert_jax.data.pretraining.spec import BatchSettings
from albert_jax.data.pretraining.synthetic import SPECIAL_IDS, MemoryExamples, make_synthetic_vocabulary
from albert_jax.errors import InputError
from albert_jax.tasks.pretrain import PretrainTask
from albert_jax.training.task import Rows, Task

LENGTHS = ("full", "realistic", "data")
_EXAMPLES = 4096


def make_rows(task: Task, lengths: str, seed: int = 0) -> Rows:
  """Training rows to measure with.

  Args:
    task: what the config trains.
    lengths: "full": random tokens, every example fills a row; "realistic": random tokens, lengths are even between the
      shortest and the whole row, half a row on average; "data": the text that the config names.
    seed: of the random tokens.

  Raises:
    InputError: random tokens are only for pretraining.
  """
  if lengths == "data":
    return task.load_data().train
  if not isinstance(task, PretrainTask):
    raise InputError(f"--lengths={lengths} makes random text for pretraining: --lengths=data takes the config's own.")
  settings = task.batch
  if settings.pair_objective == "nsp":  # whose random second segment may be too short to fill a row; costs are the same
    settings = dataclasses.replace(settings, pair_objective="sop")
  vocabulary = make_synthetic_vocabulary(task.encoder.vocab_size, seed=seed)
  examples = make_examples(settings, task.encoder.vocab_size, full=lengths == "full", seed=seed)
  return PretrainingRows(examples, vocabulary, settings, shuffle=True)


def make_examples(settings: BatchSettings, vocab_size: int, *, full: bool, seed: int) -> MemoryExamples:
  """Examples of random tokens in sentences of about 25, of one length or of lengths from 6 tokens to the row's."""
  rng = np.random.default_rng(seed)
  longest = settings.max_length - settings.special_tokens
  shortest = longest if full else min(3, longest)
  chunks = []
  for length in rng.integers(shortest, longest + 1, _EXAMPLES):
    ends = np.cumsum(np.maximum(rng.lognormal(3.1, 0.5, length).astype(int), 3))
    ends = ends[ends < length] if ends[0] < length else [length // 2]  # two at least, for a pair
    tokens = rng.integers(SPECIAL_IDS, vocab_size, length)
    chunks.append([part.tolist() for part in np.split(tokens, ends)])
  return MemoryExamples(chunks, max_length=settings.max_length)


def make_batches(rows: Rows, count: int, size: int) -> list[Batch]:
  """Batches 0 … count − 1 of `size` rows.

  Raises:
    InputError: they differ in length.
  """
  batches = [rows.batch(number, size, 0, size) for number in range(count)]
  widths = {batch["tokens"].shape[-1] for batch in batches}
  if len(widths) > 1:
    raise InputError(f"Batches of lengths {sorted(widths)}: set data.length_multiple to data.max_length.")
  return batches


def one_example_a_row(batch: Batch, predictions: int) -> Batch:
  """The examples of packed rows [B, T], each in a row of its own [X, T].

  Args:
    batch: of pretraining rows.
    predictions: M of the result, the most that one example has.

  Returns:
    `tokens`, `types`, `mask` (1 or 0) [X, T]; `mlm_positions`, `mlm_labels`, `mlm_weights` [X, M]; `pair_labels`,
    `pair_weights` [X].
  """
  example_ids_BT, length = batch["example_ids"], batch["example_ids"].shape[1]
  numbers_BN = np.arange(1, batch["pair_labels"].shape[1] + 1)[None]
  exists_BN = (example_ids_BT[:, :, None] == numbers_BN[:, None]).any(axis=1)
  index_BN = np.cumsum(exists_BN).reshape(exists_BN.shape) - 1
  count = int(exists_BN.sum())
  found = {name: np.zeros((count, length), np.int32) for name in ("tokens", "token_type_ids", "mask")}
  found |= {name: np.zeros((count, predictions), np.int32) for name in ("mlm_positions", "mlm_labels")}
  found["mlm_weights"] = np.zeros((count, predictions), np.float32)

  row, column = np.nonzero(example_ids_BT)
  place = index_BN[row, example_ids_BT[row, column] - 1], batch["positions"][row, column]
  found["mask"][place] = 1
  for name in ("tokens", "token_type_ids"):
    found[name][place] = batch[name][row, column]

  row, number = np.nonzero(batch["mlm_weights"])
  column = batch["mlm_positions"][row, number]
  example = index_BN[row, example_ids_BT[row, column] - 1]
  place = example, np.arange(len(example)) - np.searchsorted(example, example)
  found["mlm_positions"][place] = batch["positions"][row, column]
  found["mlm_labels"][place] = batch["mlm_labels"][row, number]
  found["mlm_weights"][place] = batch["mlm_weights"][row, number]
  return found | {name: batch[name][exists_BN] for name in ("pair_labels", "pair_weights")}


def for_peers(batches: Sequence[Batch], predictions: int) -> tuple[list[Batch], Batch]:
  """The same examples one to a row, in batches of equal size; what is over at the end is left out.

  Returns:
    As many batches as were given, or one fewer; and apart from them the examples of the first one, for the gates.
  """
  apart = [one_example_a_row(batch, predictions) for batch in batches]
  rows = {name: np.concatenate([batch[name] for batch in apart]) for name in apart[0]}
  count = len(rows["tokens"])
  size = max(1, round(count / len(batches)))
  parts = [{k: v[first : first + size] for k, v in rows.items()} for first in range(0, count - size + 1, size)]
  return parts, apart[0]
