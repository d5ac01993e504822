"""The encoder of BERT and ALBERT: one scan over layers, which reads the sharing tables; `make_encoder` knows others."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from flax.traverse_util import flatten_dict, unflatten_dict

from albert_jax.models import sharing
from albert_jax.models.attention import attend
from albert_jax.models.depth import Depth, add_embedding, fixed_inputs, own_of
from albert_jax.models.layers import Attend, Attention, Embeddings, FeedForward
from albert_jax.models.logical_sharding import current_rules
from albert_jax.models.recurrent import RecurrentEncoder
from albert_jax.models.sizes import EncoderConfig

# The parts of a layer in the order in which it applies them.
PARTS = {"attn": Attention, "ffn": FeedForward}

_REMAT_POLICIES = {
  "full": jax.checkpoint_policies.nothing_saveable,
  "dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
}


class Encoder(nnx.Module):
  """A post-LN transformer encoder whose layers read weight groups by table.

  `config.tables[path][l]` is the weight group that layer l reads: (0,)*L is ALBERT (arXiv 1909.11942), range(L) is
  BERT (arXiv 1810.04805). The parameters of the layers are stacks with a leading group axis, [G, ...].
  """

  def __init__(self, config: EncoderConfig, *, rngs: nnx.Rngs):
    self.config = config
    self.embeddings = Embeddings(config, rngs=rngs)
    for part, module in PARTS.items():
      setattr(self, part, module(config, rngs=rngs))
    self.depth = Depth(config, rngs=rngs) if config.depth.is_learned else None

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
    """Encodes rows of packed examples.

    Args:
      tokens_BT: ids.
      token_type_ids_BT: 0 in segment A, 1 in B.
      example_ids_BT: 0 in padding, n in the row's n-th example; attention stays inside equal numbers.
      positions_BT: position within the example.
      rng: for dropout, or None for none.
      packed: whether a row may hold more than one example.
      collect: whether the outputs of all layers are wanted, too.

    Returns:
      x_BTD in `config.dtype`; to collect, (x_BTD, x_LBTD), of which x_LBTD has L + 1 entries, the embeddings first.
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
    out_BTD, out_LBTD = self._layers(x_BTD, attend_rows, rngs_L, collect)
    return (out_BTD, jnp.concatenate([x_BTD[None], out_LBTD])) if collect else out_BTD

  def _layers(self, x_BTD: jax.Array, attend_rows: Attend, rngs_L: jax.Array | None, collect: bool):
    graphs, weights, tables = {}, {}, dict(self.config.tables)
    for part in PARTS:
      graphs[part], state = nnx.split(getattr(self, part))
      weights |= flatten_dict({part: nnx.to_pure_dict(state)}, sep="/")
    every = tuple(range(self.config.layers))
    own = flatten_dict(nnx.to_pure_dict(nnx.state(self.depth)), sep="/") if self.depth else {}
    for path, w in {**own, **fixed_inputs(self.config)}.items():
      weights[f"depth/{path}"], tables[f"depth/{path}"] = w, every
    shared, per_layer = by_layer(cast_kernels(weights, self.config.dtype), tables)  # cast once, outside the loop

    def layer(x_BTD, inputs):
      own, rng = inputs
      weights = unflatten_dict(shared | own, sep="/")
      depth = flatten_dict(weights.pop("depth", {}), sep="/")
      x_BTD = add_embedding(x_BTD, depth)
      for number, part in enumerate(PARTS):
        # Not split(rng): a part keeps its masks whatever other parts there are.
        part_rng = None if rng is None else jax.random.fold_in(rng, number)
        x_BTD = nnx.merge(graphs[part], weights[part])(x_BTD, attend_rows, part_rng, own_of(part, depth))
      return x_BTD, x_BTD if collect else None

    # A loop saves what the backward pass needs by copying it, which costs CPUs a tenth of a step; a TPU's compiler does
    # better, and takes long over many layers.
    loop = self.config.layer_loop
    is_unrolled = loop == "unroll" or (loop == "auto" and current_rules().platform != "tpu")
    if self.config.remat != "none":
      layer = jax.checkpoint(layer, policy=_REMAT_POLICIES[self.config.remat], prevent_cse=is_unrolled)
    unroll = self.config.layers if is_unrolled else 1
    return jax.lax.scan(layer, x_BTD, (per_layer, rngs_L), length=self.config.layers, unroll=unroll)


def make_encoder(config: EncoderConfig, *, rngs: nnx.Rngs) -> Encoder | RecurrentEncoder:
  """The encoder of a kind; all are called alike."""
  return (RecurrentEncoder if config.is_recurrent else Encoder)(config, rngs=rngs)


def by_layer(weights: dict[str, jax.Array], tables: dict[str, sharing.Table]) -> tuple[dict, dict]:
  """Sorts the stacks of a layer's parameters, [G, ...], by how the loop over layers reads them.

  What all layers read is taken out of its stack and closed over: no copy of it for each layer, and its gradient adds
  up in one place. Where each layer has its own, the stack is the loop's input as it is. Anything else is gathered.

  Returns:
    {path: w} for all layers, and {path: w_L…} with a leading layer axis.
  """
  shared, per_layer = {}, {}
  for path, stack in weights.items():
    table = tables[path]
    if sharing.num_groups(table) == 1:
      shared[path] = stack[0]
    else:
      per_layer[path] = stack if table == tuple(range(len(table))) else stack[np.array(table)]
  return shared, per_layer


def cast_kernels(weights: dict[str, jax.Array], dtype: jnp.dtype) -> dict[str, jax.Array]:
  """Casts every weight to the computation's dtype, but for those of LayerNorm, which computes in float32."""
  return {path: w if "/norm/" in path else w.astype(dtype) for path, w in weights.items()}
