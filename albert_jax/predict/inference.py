"""From sequences of any lengths to what a head says of each: compiled forwards, and batches of few shapes for them."""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from albert_jax.data.finetuning.encode import Sequences
from albert_jax.data.finetuning.rows import LabelledRows, RowSettings
from albert_jax.data.tokenizers.base import Tokenizer
from albert_jax.errors import InputError, unknown
from albert_jax.models.encoder import make_encoder
from albert_jax.models.heads import ClassificationModel, PretrainingModel, SpanModel, encode
from albert_jax.models.param import abstract_module
from albert_jax.models.sizes import EncoderConfig

SHORTEST = 8  # positions of the shortest rows
Batch = dict[str, np.ndarray]
Results = list[tuple[np.ndarray, ...]]
# (params, batch, static arguments by name) → arrays [B, ...], without dropout; each shape is compiled for once.
Forward = Callable[..., tuple[jax.Array, ...]]
POOLINGS = ("mean", "cls")


def make_encode(config: EncoderConfig) -> Forward:
  """Forward with `pooling`: (vectors_BD,), float32; "mean" is over all tokens, [CLS] and [SEP] too."""
  graph = abstract_module(lambda rngs: make_encoder(config, rngs=rngs))

  @functools.partial(jax.jit, static_argnames="pooling")
  def forward(params, batch, *, pooling):
    x_BTD = encode(nnx.merge(graph, params["encoder"]), batch, None).astype(jnp.float32)
    if pooling == "cls":
      return (x_BTD[:, 0],)
    if pooling != "mean":
      raise unknown("pooling", pooling, POOLINGS)
    inside_BT1 = (batch["example_ids"] > 0)[:, :, None]
    return (jnp.sum(x_BTD, axis=1, where=inside_BT1) / jnp.maximum(1, jnp.sum(inside_BT1, axis=1)),)

  return forward


def make_fill(config: EncoderConfig, pieces: int) -> Forward:
  """Forward with `top`: (probabilities_BMN, ids_BMN) of the N = `top` best of the first `pieces` ids.

  The batch has a field `mlm_positions` [B, M].
  """
  graph = abstract_module(lambda rngs: PretrainingModel(config, pair=False, rngs=rngs))

  @functools.partial(jax.jit, static_argnames="top")
  def forward(params, batch, *, top):
    model = nnx.merge(graph, {name: params[name] for name in ("encoder", "mlm")})
    logits_BMV, _ = model(batch, None)
    return tuple(jax.lax.top_k(jax.nn.softmax(logits_BMV)[..., :pieces], top))

  return forward


def make_classify(config: EncoderConfig, outputs: int) -> Forward:
  """Forward: (logits_BC,)."""
  graph = abstract_module(lambda rngs: ClassificationModel(config, outputs, dropout=0.0, rngs=rngs))

  @jax.jit
  def forward(params, batch):
    model = nnx.merge(graph, {name: params[name] for name in ("encoder", "pooler", "classifier")})
    return (model(batch, None),)

  return forward


def make_span(config: EncoderConfig) -> Forward:
  """Forward: (start_logits_BT, end_logits_BT)."""
  graph = abstract_module(lambda rngs: SpanModel(config, rngs=rngs))

  @jax.jit
  def forward(params, batch):
    return nnx.merge(graph, {name: params[name] for name in ("encoder", "span")})(batch, None)

  return forward


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
