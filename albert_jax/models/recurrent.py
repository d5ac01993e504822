"""Recurrent encoders behind the transformer's call: bidirectional LSTM and GRU layers, as the baselines of BERT.

An LSTM is that of Hochreiter & Schmidhuber (1997) with a forget gate, a GRU that of arXiv 1406.1078 with the reset gate
after the product, both as `torch.nn.LSTM` and `torch.nn.GRU` compute them, gate by gate.
"""

import math

import jax
import jax.numpy as jnp
from flax import nnx

from albert_jax.models import sharing
from albert_jax.models.dropout import dropout
from albert_jax.models.layers import Embeddings
from albert_jax.models.logical_sharding import constrain
from albert_jax.models.param import constant, uniform
from albert_jax.models.sizes import GATES, EncoderConfig


class Gates(nnx.Module):
  """A product with its bias for all gates of both directions, stacked by weight group: kernel [G, 2, I, A]."""

  def __init__(self, config: EncoderConfig, name: str, inputs: int, letter: str, *, rngs: nnx.Rngs):
    hidden = config.width // 2
    kernel_groups, bias_groups = (
      sharing.num_groups(config.tables[f"rnn/{name}/{leaf}"]) for leaf in ("kernel", "bias")
    )
    outputs = GATES[config.kind] * hidden
    limit = 1 / math.sqrt(hidden)
    self.kernel = uniform(f"GZ{letter}A", (kernel_groups, 2, inputs, outputs), limit, rngs)
    self.bias = constant("GZA", (bias_groups, 2, outputs), 0.0)


class Recurrence(nnx.Module):
  """What the layers read: products with a layer's input and with its state."""

  def __init__(self, config: EncoderConfig, *, rngs: nnx.Rngs):
    self.input = Gates(config, "input", config.width, "D", rngs=rngs)
    self.hidden = Gates(config, "hidden", config.width // 2, "K", rngs=rngs)


class RecurrentEncoder(nnx.Module):
  """Embeddings and L bidirectional layers, each direction D/2 wide, whose layers read weight groups by table.

  Dropout is after the embeddings and after each layer. There is no residual and no LayerNorm between the layers.
  """

  def __init__(self, config: EncoderConfig, *, rngs: nnx.Rngs):
    self.config = config
    self.embeddings = Embeddings(config, rngs=rngs)
    self.rnn = Recurrence(config, rngs=rngs)

  def __call__(
    self,
    tokens_BT: jax.Array,
    token_type_ids_BT: jax.Array,
    example_ids_BT: jax.Array,
    positions_BT: jax.Array,
    rng: jax.Array | None,
    *,
    packed: bool = True,
    collect: bool = False,
  ) -> jax.Array | tuple[jax.Array, jax.Array]:
    """Encodes rows of packed examples, as `Encoder` does; the state is 0 where an example begins, in both directions.

    Returns:
      x_BTD in `config.dtype`, 0 in padding; to collect, (x_BTD, x_LBTD), of which x_LBTD has L + 1 entries.
    """
    del packed  # the ids say where examples begin
    rngs = [None] * (self.config.layers + 1) if rng is None else jax.random.split(rng, self.config.layers + 1)
    x_BTD = self.embeddings(tokens_BT, token_type_ids_BT, positions_BT, rngs[0])
    every = [x_BTD]
    for layer, layer_rng in enumerate(rngs[1:]):
      x_BTD = constrain(dropout(self._layer(x_BTD, example_ids_BT, layer), self.config.dropout, layer_rng), "BTD")
      every.append(x_BTD)
    return (x_BTD, jnp.stack(every)) if collect else x_BTD

  def _layer(self, x_BTD: jax.Array, example_ids_BT: jax.Array, layer: int) -> jax.Array:
    weights = {}
    for path, table in self.config.tables.items():
      _, module, leaf = path.split("/")
      weights[module, leaf] = getattr(getattr(self.rnn, module), leaf)[...][table[layer]].astype(x_BTD.dtype)
    ids_ZBT = both_ways(jnp.stack([example_ids_BT] * 2))
    before_ZBT = jnp.pad(ids_ZBT[:, :, :-1], ((0, 0), (0, 0), (1, 0)), constant_values=-1)
    # The product with the inputs does not wait for the state: one for the whole row, outside the loop.
    product_ZBTA = jnp.einsum("BTD,ZDA->ZBTA", x_BTD, weights["input", "kernel"])
    gates_ZBTA = both_ways(product_ZBTA + weights["input", "bias"][:, None, None])
    out_ZBTK = _run(
      self.config.kind, gates_ZBTA, ids_ZBT != before_ZBT, weights["hidden", "kernel"], weights["hidden", "bias"]
    )
    forward_BTK, backward_BTK = both_ways(out_ZBTK)
    out_BTD = jnp.concatenate([forward_BTK, backward_BTK], axis=-1)
    return jnp.where((example_ids_BT > 0)[:, :, None], out_BTD, 0).astype(x_BTD.dtype)


def both_ways(x_ZBT: jax.Array) -> jax.Array:
  """[2, B, T, …] with the second direction's positions reversed: from the row's order to that of reading, and back."""
  return jnp.stack([x_ZBT[0], jnp.flip(x_ZBT[1], axis=1)])


def _run(kind: str, gates_ZBTA: jax.Array, is_first_ZBT: jax.Array, kernel_ZKA: jax.Array, bias_ZA: jax.Array):
  """out_ZBTK of both directions in one loop over positions; states are float32."""
  cell = {"lstm": _lstm, "gru": _gru}[kind]
  directions, batch, _, _ = gates_ZBTA.shape
  hidden = kernel_ZKA.shape[1]
  # The LSTM's second state is its memory.
  start = (jnp.zeros((directions, batch, hidden), jnp.float32),) * (2 if kind == "lstm" else 1)

  def step(state, inputs):
    gates_ZBA, is_first_ZB = inputs
    state = tuple(jnp.where(is_first_ZB[:, :, None], 0, part) for part in state)
    product_ZBA = jnp.einsum(
      "ZBK,ZKA->ZBA", state[0].astype(kernel_ZKA.dtype), kernel_ZKA, preferred_element_type=jnp.float32
    )
    state = cell(gates_ZBA.astype(jnp.float32), product_ZBA + bias_ZA[:, None].astype(jnp.float32), state)
    return state, state[0]

  _, out_TZBK = jax.lax.scan(step, start, (jnp.moveaxis(gates_ZBTA, 2, 0), jnp.moveaxis(is_first_ZBT, 2, 0)))
  return jnp.moveaxis(out_TZBK, 0, 2)


def _lstm(of_input: jax.Array, of_state: jax.Array, state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
  add, keep, new, show = jnp.split(of_input + of_state, 4, axis=-1)
  memory = jax.nn.sigmoid(keep) * state[1] + jax.nn.sigmoid(add) * jnp.tanh(new)
  return jax.nn.sigmoid(show) * jnp.tanh(memory), memory


def _gru(of_input: jax.Array, of_state: jax.Array, state: tuple[jax.Array]) -> tuple[jax.Array]:
  reset, update, new = jnp.split(of_input, 3, axis=-1)
  reset_state, update_state, new_state = jnp.split(of_state, 3, axis=-1)
  keep = jax.nn.sigmoid(update + update_state)
  candidate = jnp.tanh(new + jax.nn.sigmoid(reset + reset_state) * new_state)
  return ((1 - keep) * candidate + keep * state[0],)
