"""The compiled part: from a batch to what is wanted of each row. Without dropout; each shape is compiled for once."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx

from albert_jax.errors import unknown
from albert_jax.models.encoder import Encoder
from albert_jax.models.heads import ClassificationModel, PretrainingModel, SpanModel, encode
from albert_jax.models.param import abstract_module
from albert_jax.models.sizes import EncoderConfig

Forward = Callable[..., tuple[jax.Array, ...]]  # (params, batch, static arguments by name) → arrays [B, ...]
POOLINGS = ("mean", "cls")


def make_encode(config: EncoderConfig) -> Forward:
  """Forward with `pooling`: (vectors_BD,), float32; "mean" is over all tokens, [CLS] and [SEP] too."""
  graph = abstract_module(lambda rngs: Encoder(config, rngs=rngs))

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
