"""The encoder of BERT and ALBERT: one scan over layers, which reads the sharing tables."""

import functools
import operator

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from albert_jax.models import sharing
from albert_jax.models.attention import attend
from albert_jax.models.layers import Attend, Attention, Embeddings, FeedForward
from albert_jax.models.logical_sharding import current
from albert_jax.models.sizes import EncoderConfig

# The parts of a layer in the order in which it applies them.
PARTS = {"attn": Attention, "ffn": FeedForward}

_REMAT_POLICIES = {
  "full": jax.checkpoint_policies.nothing_saveable,
  "dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
}


class Encoder(nnx.Module):
  """A post-LN transformer encoder whose layers read weight groups by table.

  `config.tables[part][l]` is the weight group that layer l reads: (0,)*L is ALBERT (arXiv 1909.11942), range(L) is
  BERT (arXiv 1810.04805). The weights of a part are stacks with a leading group axis, [G, ...].
  """

  def __init__(self, config: EncoderConfig, *, rngs: nnx.Rngs):
    self.config = config
    self.embeddings = Embeddings(config, rngs=rngs)
    for part, module in PARTS.items():
      stack = (sharing.num_groups(config.tables[part]),)
      setattr(self, part, module(config, stack=stack, rngs=rngs))

  def __call__(
    self,
    tokens_BT: jax.Array,
    token_type_ids_BT: jax.Array,
    example_ids_BT: jax.Array,
    positions_BT: jax.Array,
    rng: jax.Array | None,
    *,
    packed: bool = True,
  ) -> jax.Array:
    """Encodes rows of packed examples.

    Args:
      tokens_BT: ids.
      token_type_ids_BT: 0 in segment A, 1 in B.
      example_ids_BT: 0 in padding, n in the row's n-th example; attention stays inside equal numbers.
      positions_BT: position within the example.
      rng: for dropout, or None for none.
      packed: whether a row may hold more than one example.

    Returns:
      x_BTD in `config.dtype`.
    """
    embedding_rng, layers_rng = (None, None) if rng is None else jax.random.split(rng)
    x_BTD = self.embeddings(tokens_BT, token_type_ids_BT, positions_BT, embedding_rng)
    attend_rows = functools.partial(
      attend,
      example_ids_BT=example_ids_BT,
      packed=packed,
      implementation=self.config.attention,
      dropout_rate=self.config.attention_dropout,
    )
    rngs_L = None if rng is None else jax.random.split(layers_rng, self.config.layers)
    return self._layers(x_BTD, attend_rows, rngs_L)

  def _layers(self, x_BTD: jax.Array, attend_rows: Attend, rngs_L: jax.Array | None) -> jax.Array:
    definitions, tied, per_layer = {}, {}, {}
    for part, table in self.config.tables.items():
      definitions[part], stack = nnx.split(getattr(self, part))
      stack = cast_kernels(stack, self.config.dtype)  # once, outside the loop
      if sharing.num_groups(table) == 1:
        tied[part] = jax.tree.map(operator.itemgetter(0), stack)
      elif table == tuple(range(len(table))):
        per_layer[part] = stack
      else:
        per_layer[part] = jax.tree.map(operator.itemgetter(np.array(table)), stack)

    def layer(x_BTD, inputs):
      own, rng = inputs
      for number, part in enumerate(PARTS):
        weights = tied[part] if part in tied else own[part]
        part_rng = None if rng is None else jax.random.fold_in(rng, number)
        x_BTD = nnx.merge(definitions[part], weights)(x_BTD, attend_rows, part_rng)
      return x_BTD, None

    # A loop saves what the backward pass needs by copying it, which costs CPUs a tenth of a step; a TPU's compiler does
    # better, and takes long over many layers.
    loop = self.config.layer_loop
    is_unrolled = loop == "unroll" or (loop == "auto" and current().platform != "tpu")
    if self.config.remat != "none":
      layer = jax.checkpoint(layer, policy=_REMAT_POLICIES[self.config.remat], prevent_cse=is_unrolled)
    unroll = self.config.layers if is_unrolled else 1
    return jax.lax.scan(layer, x_BTD, (per_layer, rngs_L), length=self.config.layers, unroll=unroll)[0]


def cast_kernels(weights, dtype: jnp.dtype):
  """Casts every weight to the computation's dtype, but for those of LayerNorm, which computes in float32."""

  def cast(path, w):
    return w if any(getattr(entry, "key", None) == "norm" for entry in path) else w.astype(dtype)

  return jax.tree_util.tree_map_with_path(cast, weights)
