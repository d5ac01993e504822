"""The parts of an encoder layer.

Modules declare their weights; those of a layer carry leading `stack` dims, [G, ...], one entry a weight group, and are
called on one group at a time (see `encoder`). Randomness comes in as a key, `rng`; without one there is no dropout.
Computation follows the input's dtype; LayerNorm's statistics and the softmax are float32.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx

from albert_jax.models.dropout import dropout
from albert_jax.models.logical_sharding import constrain
from albert_jax.models.sizes import EncoderConfig

# Standard deviation of the normal before its tails beyond two are cut off (arXiv 1810.04805, released code).
INIT_STDDEV = 0.02
LAYER_NORM_EPSILON = 1e-12

# (q_BTHK, k_BSHK, v_BSHK, rng) → mixed_BTHK: `attention.attend` for the rows at hand.
Attend = Callable[[jax.Array, jax.Array, jax.Array, jax.Array | None], jax.Array]

_init = jax.nn.initializers.truncated_normal(INIT_STDDEV)


def activation(name: str, x: jax.Array) -> jax.Array:
  """Applies "gelu" (erf form), "gelu_tanh" or "relu"."""
  if name == "relu":
    return jax.nn.relu(x)
  if name == "gelu_tanh":
    return jax.nn.gelu(x, approximate=True)
  # In float32, since 1 + erf cancels; erfc, which does not, takes an exponential more.
  full = x.astype(jnp.float32)
  return (0.5 * full * (1 + jax.lax.erf(full * math.sqrt(0.5)))).astype(x.dtype)


def table(rngs: nnx.Rngs, *shape: int) -> nnx.Param:
  """A weight tensor with the truncated normal initialisation."""
  return nnx.Param(_init(rngs.params(), shape, jnp.float32))


class Dense(nnx.Module):
  """Contracts the trailing `inputs` dims of x with a kernel [*inputs, *outputs] and adds a bias [*outputs]."""

  def __init__(self, inputs: tuple[int, ...], outputs: tuple[int, ...], *, stack: tuple[int, ...] = (), rngs: nnx.Rngs):
    self.inputs, self.outputs = inputs, outputs
    self.kernel = table(rngs, *stack, *inputs, *outputs)
    self.bias = nnx.Param(jnp.zeros((*stack, *outputs), jnp.float32))

  def __call__(self, x: jax.Array) -> jax.Array:
    """[..., *inputs] → [..., *outputs], in x's dtype."""
    # As one flat matrix product: on CPU, XLA takes twice as long over one with several leading dims.
    rows = x.reshape(-1, math.prod(self.inputs))
    product = rows @ self.kernel[...].astype(x.dtype).reshape(rows.shape[-1], -1)
    lead = x.shape[: x.ndim - len(self.inputs)]
    return product.reshape(*lead, *self.outputs) + self.bias[...].astype(x.dtype)


class LayerNorm(nnx.Module):
  """Layer normalisation over the last dim (arXiv 1607.06450), statistics and scaling in float32."""

  def __init__(self, width: int, *, stack: tuple[int, ...] = ()):
    self.scale = nnx.Param(jnp.ones((*stack, width), jnp.float32))
    self.bias = nnx.Param(jnp.zeros((*stack, width), jnp.float32))

  def __call__(self, x: jax.Array) -> jax.Array:
    """[..., D] → [..., D], in x's dtype."""
    full = x.astype(jnp.float32)
    # Subtract the mean before squaring: E[x²] − E[x]² loses everything for large means with this epsilon.
    centred = full - full.mean(-1, keepdims=True)
    inverse = jax.lax.rsqrt(jnp.square(centred).mean(-1, keepdims=True) + LAYER_NORM_EPSILON)
    return (centred * inverse * self.scale[...] + self.bias[...]).astype(x.dtype)


class Embeddings(nnx.Module):
  """Word + position + token-type embeddings, LayerNorm, dropout, projection from E to D (arXiv 1909.11942, §3.1)."""

  def __init__(self, config: EncoderConfig, *, rngs: nnx.Rngs):
    self.config = config
    self.word = table(rngs, config.vocab_size, config.embedding)
    self.position = table(rngs, config.positions, config.embedding)
    self.type = table(rngs, config.token_types, config.embedding)
    self.norm = LayerNorm(config.embedding)
    self.projection = Dense((config.embedding,), (config.width,), rngs=rngs) if config.has_projection else None

  def __call__(
    self, tokens_BT: jax.Array, token_type_ids_BT: jax.Array, positions_BT: jax.Array, rng: jax.Array | None
  ) -> jax.Array:
    """Ids in, x_BTD in the computation's dtype out."""
    lookups = ((self.word, "VE", tokens_BT), (self.position, "PE", positions_BT), (self.type, "YE", token_type_ids_BT))
    x_BTE = sum(constrain(constrain(rows[...], dims)[ids_BT], "BTE") for rows, dims, ids_BT in lookups)
    x_BTE = dropout(self.norm(x_BTE), self.config.dropout, rng).astype(self.config.dtype)
    return x_BTE if self.projection is None else constrain(self.projection(x_BTE), "BTD")


class Attention(nnx.Module):
  """Multi-head self-attention with its residual and LayerNorm after it (post-LN)."""

  def __init__(self, config: EncoderConfig, *, stack: tuple[int, ...], rngs: nnx.Rngs):
    self.config = config
    outer, inner = (config.width,), (config.heads, config.head_dim)
    self.query = Dense(outer, inner, stack=stack, rngs=rngs)
    self.key = Dense(outer, inner, stack=stack, rngs=rngs)
    self.value = Dense(outer, inner, stack=stack, rngs=rngs)
    self.output = Dense(inner, outer, stack=stack, rngs=rngs)
    self.norm = LayerNorm(config.width, stack=stack)

  def __call__(self, x_BTD: jax.Array, attend: Attend, rng: jax.Array | None) -> jax.Array:
    """x_BTD → x_BTD."""
    probability_rng, output_rng = (None, None) if rng is None else jax.random.split(rng)
    q_BTHK, k_BSHK, v_BSHK = (constrain(project(x_BTD), "BTHK") for project in (self.query, self.key, self.value))
    mixed_BTHK = attend(q_BTHK * (1 / math.sqrt(self.config.head_dim)), k_BSHK, v_BSHK, probability_rng)
    return self.norm(x_BTD + dropout(constrain(self.output(mixed_BTHK), "BTD"), self.config.dropout, output_rng))


class FeedForward(nnx.Module):
  """The position-wise feed-forward part with its residual and LayerNorm after it (post-LN)."""

  def __init__(self, config: EncoderConfig, *, stack: tuple[int, ...], rngs: nnx.Rngs):
    self.config = config
    self.up = Dense((config.width,), (config.ffn,), stack=stack, rngs=rngs)
    self.down = Dense((config.ffn,), (config.width,), stack=stack, rngs=rngs)
    self.norm = LayerNorm(config.width, stack=stack)

  def __call__(self, x_BTD: jax.Array, attend: Attend, rng: jax.Array | None) -> jax.Array:
    """x_BTD → x_BTD; positions do not meet here."""
    del attend
    hidden_BTF = activation(self.config.activation, constrain(self.up(x_BTD), "BTF"))
    return self.norm(x_BTD + dropout(constrain(self.down(hidden_BTF), "BTD"), self.config.dropout, rng))
