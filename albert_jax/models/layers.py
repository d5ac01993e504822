"""The parts of an encoder layer.

Modules declare their weights; those of a layer are stacks, [G, ...], with one entry for each weight group, and the
modules are called on one entry at a time (see `encoder`). Randomness comes in as a key, `rng`; without one there is no
dropout. Computation follows the input's dtype; LayerNorm's statistics and the softmax are float32.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from flax import nnx

from albert_jax.models.dropout import dropout
from albert_jax.models.logical_sharding import constrain
from albert_jax.models.param import constant, weight
from albert_jax.models.sizes import EncoderConfig

LAYER_NORM_EPSILON = 1e-12

# (q_BTHK, k_BSHK, v_BSHK, rng) → mixed_BTHK: `attention.attend` for the rows at hand.
Attend = Callable[[jax.Array, jax.Array, jax.Array, jax.Array | None], jax.Array]
# a_IR and b_RO of a low-rank addition to a kernel [I, O] (arXiv 2106.09685).
Adapter = tuple[jax.Array, jax.Array]


def activation(name: str, x: jax.Array) -> jax.Array:
  """Applies "gelu" (erf form), "gelu_tanh" or "relu"."""
  if name == "relu":
    return jax.nn.relu(x)
  if name == "gelu_tanh":
    return jax.nn.gelu(x, approximate=True)
  # In float32, since 1 + erf cancels; erfc, which does not, takes an exponential more.
  full = x.astype(jnp.float32)
  return (0.5 * full * (1 + jax.lax.erf(full * math.sqrt(0.5)))).astype(x.dtype)


class Dense(nnx.Module):
  """Contracts the trailing `inputs` dims of x with a kernel [*inputs, *outputs] and adds a bias [*outputs].

  `axes` are the letters of the kernel, inputs first. `groups` are the weight groups of kernel and bias in a layer.
  """

  def __init__(
    self,
    inputs: tuple[int, ...],
    outputs: tuple[int, ...],
    axes: str,
    *,
    groups: tuple[int, int] | None = None,
    rngs: nnx.Rngs,
  ):
    self.inputs, self.outputs = inputs, outputs
    letter, kernel_groups, bias_groups = ("", (), ()) if groups is None else ("G", groups[:1], groups[1:])
    self.kernel = weight(letter + axes, (*kernel_groups, *inputs, *outputs), rngs)
    self.bias = constant(letter + axes[len(inputs) :], (*bias_groups, *outputs), 0.0)

  def __call__(self, x: jax.Array, adapter: Adapter | None = None) -> jax.Array:
    """[..., *inputs] → [..., *outputs], in x's dtype."""
    # As one flat matrix product: on CPU, XLA takes twice as long over one with several leading dims.
    rows = x.reshape(-1, math.prod(self.inputs))
    product = rows @ self.kernel[...].astype(x.dtype).reshape(rows.shape[-1], -1)
    if adapter is not None:
      a, b = (w.astype(x.dtype) for w in adapter)
      product += (rows @ a.reshape(rows.shape[-1], -1)) @ b.reshape(b.shape[0], -1)
    lead = x.shape[: x.ndim - len(self.inputs)]
    return product.reshape(*lead, *self.outputs) + self.bias[...].astype(x.dtype)


class LayerNorm(nnx.Module):
  """Layer normalisation over the last dim (arXiv 1607.06450), statistics and scaling in float32."""

  def __init__(self, width: int, axes: str, *, groups: tuple[int, int] | None = None):
    letter, scale_groups, bias_groups = ("", (), ()) if groups is None else ("G", groups[:1], groups[1:])
    self.scale = constant(letter + axes, (*scale_groups, width), 1.0)
    self.bias = constant(letter + axes, (*bias_groups, width), 0.0)

  def __call__(self, x: jax.Array) -> jax.Array:
    """[..., D] → [..., D], in x's dtype."""
    full = x.astype(jnp.float32)
    # Subtract the mean before squaring: E[x²] − E[x]² loses everything for large means with this epsilon.
    centred = full - full.mean(-1, keepdims=True)
    inverse = jax.lax.rsqrt(jnp.square(centred).mean(-1, keepdims=True) + LAYER_NORM_EPSILON)
    return (centred * inverse * self.scale[...] + self.bias[...]).astype(x.dtype)


@dataclasses.dataclass(frozen=True)
class Own:
  """Parts that a layer owns, beside the weights that it may share (see `depth`).

  Attributes:
    adapters: low-rank additions by the name of the matrix.
    scale: of the residual branch, a scalar; None = 1.
  """

  adapters: Mapping[str, Adapter] = dataclasses.field(default_factory=dict)
  scale: jax.Array | None = None

  def scaled(self, branch_BTD: jax.Array) -> jax.Array:
    """The residual branch as it enters the sum."""
    return branch_BTD if self.scale is None else branch_BTD * self.scale.astype(branch_BTD.dtype)


class Embeddings(nnx.Module):
  """Word + position + token-type embeddings, LayerNorm, dropout, projection from E to D (arXiv 1909.11942, §3.1)."""

  def __init__(self, config: EncoderConfig, *, rngs: nnx.Rngs):
    self.config = config
    self.word = weight("VE", (config.vocab_size, config.embedding), rngs)
    self.position = weight("PE", (config.positions, config.embedding), rngs)
    self.type = weight("YE", (config.token_types, config.embedding), rngs)
    self.norm = LayerNorm(config.embedding, "E")
    self.projection = Dense((config.embedding,), (config.width,), "ED", rngs=rngs) if config.has_projection else None

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

  def __init__(self, config: EncoderConfig, *, rngs: nnx.Rngs):
    self.config = config
    outer, inner = (config.width,), (config.heads, config.head_dim)
    self.query = Dense(outer, inner, "DHK", groups=config.groups("attn/query"), rngs=rngs)
    self.key = Dense(outer, inner, "DHK", groups=config.groups("attn/key"), rngs=rngs)
    self.value = Dense(outer, inner, "DHK", groups=config.groups("attn/value"), rngs=rngs)
    self.output = Dense(inner, outer, "HKD", groups=config.groups("attn/output"), rngs=rngs)
    self.norm = LayerNorm(config.width, "D", groups=config.groups("attn/norm"))

  def __call__(self, x_BTD: jax.Array, attend: Attend, rng: jax.Array | None, own: Own | None = None) -> jax.Array:
    """x_BTD → x_BTD; `own` is what the layer has for itself on shared weights."""
    own = own or Own()
    probability_rng, output_rng = (None, None) if rng is None else jax.random.split(rng)
    q_BTHK, k_BSHK, v_BSHK = (
      constrain(getattr(self, name)(x_BTD, own.adapters.get(name)), "BTHK") for name in ("query", "key", "value")
    )
    mixed_BTHK = attend(q_BTHK * (1 / math.sqrt(self.config.head_dim)), k_BSHK, v_BSHK, probability_rng)
    branch_BTD = constrain(self.output(mixed_BTHK, own.adapters.get("output")), "BTD")
    return self.norm(x_BTD + own.scaled(dropout(branch_BTD, self.config.dropout, output_rng)))


class FeedForward(nnx.Module):
  """The position-wise feed-forward part with its residual and LayerNorm after it (post-LN)."""

  def __init__(self, config: EncoderConfig, *, rngs: nnx.Rngs):
    self.config = config
    self.up = Dense((config.width,), (config.ffn,), "DF", groups=config.groups("ffn/up"), rngs=rngs)
    self.down = Dense((config.ffn,), (config.width,), "FD", groups=config.groups("ffn/down"), rngs=rngs)
    self.norm = LayerNorm(config.width, "D", groups=config.groups("ffn/norm"))

  def __call__(self, x_BTD: jax.Array, attend: Attend, rng: jax.Array | None, own: Own | None = None) -> jax.Array:
    """x_BTD → x_BTD; `own` is what the layer has for itself on shared weights. Positions do not meet here."""
    del attend
    own = own or Own()
    hidden_BTF = activation(self.config.activation, constrain(self.up(x_BTD, own.adapters.get("up")), "BTF"))
    branch_BTD = constrain(self.down(hidden_BTF, own.adapters.get("down")), "BTD")
    return self.norm(x_BTD + own.scaled(dropout(branch_BTD, self.config.dropout, rng)))
