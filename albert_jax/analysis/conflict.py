"""Do the layers that share weights pull them the same way? The gradients of single layers on shared weights.

A model with tied weights is the model with a copy of them for each layer, all copies equal. The gradient of that untied
model holds one gradient for each layer, and those of the layers that read a group add up to the tied gradient. It costs
as many FLOPs, and the memory of L gradients.
"""

from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from albert_jax.models import sharing
from albert_jax.models.depth import fixed_inputs
from albert_jax.models.sizes import EncoderConfig
from albert_jax.tasks import make_task
from albert_jax.training.task import Batch, Task

Grams = dict[str, np.ndarray]

# A softmax does not see what is added to all scores of a row: the gradient is 0 but for rounding, and has no direction.
NO_GRADIENT = ("attn/key/bias",)


def untied_task(config: ml_collections.ConfigDict) -> Task:
  """The task of a config with weights of its own for every layer: for the parameters that `untie` gives."""
  untied = ml_collections.ConfigDict(config.to_dict())
  untied.model.sharing.update({name: "none" if name in ("attn", "ffn") else "" for name in untied.model.sharing})
  if untied.model.depth.residual == "inverse":  # would be 1 without sharing: `untie` hands it on as parameters
    untied.model.depth.residual = "learned"
  return make_task(untied)


def untie(params: Mapping, encoder: EncoderConfig) -> dict:
  """Parameters of a model in which every layer has its own copy of the weights that it reads; the outputs are equal."""
  flat = flatten_dict(dict(params["encoder"]), sep="/")
  for path, table in encoder.tables.items():
    flat[path] = jnp.asarray(flat[path])[np.array(table)]
  if encoder.depth.residual == "inverse":
    fixed = fixed_inputs(encoder)
    flat |= {f"depth/{path}": jnp.asarray(w) for path, w in fixed.items() if path.startswith("residual")}
  return {**params, "encoder": unflatten_dict(flat, sep="/")}


def layer_gradients(task: Task, params: Mapping, batch: Batch, paths: Sequence[str]) -> dict[str, jax.Array]:
  """The gradient of the loss of a batch, without dropout, by path in the encoder: [L, ...].

  Args:
    task: from `untied_task`.
    params: from `untie`.
    batch: as in training.
    paths: keys of `EncoderConfig.tables`.
  """

  def loss(params) -> jax.Array:
    terms, _ = task.forward(params, batch, None)
    return sum(terms[name][0] / jnp.maximum(terms[name][1], 1) for name in task.losses)

  flat = flatten_dict(jax.grad(loss)(params)["encoder"], sep="/")
  return {path: flat[path] for path in paths}


def gram_function(config: ml_collections.ConfigDict) -> Callable[[Mapping, Batch], Grams]:
  """Builds the compiled function (params, batch) → {path: [L, L]}, all scalar products of the layers' gradients.

  `params` are those of the config, tied. The paths are keys of `EncoderConfig.tables`.
  """
  encoder, untied = make_task(config).encoder, untied_task(config)

  @jax.jit
  def grams(params, batch):
    gradients = layer_gradients(untied, untie(params, encoder), batch, list(encoder.tables))
    rows = {path: g.reshape(len(g), -1) for path, g in gradients.items()}
    return {path: jnp.matmul(g, g.T, precision=jax.lax.Precision.HIGHEST) for path, g in rows.items()}

  return lambda params, batch: {path: np.asarray(g, np.float64) for path, g in grams(params, batch).items()}


def mean_grams(grams: Sequence[Grams]) -> Grams:
  """The mean over batches."""
  return {path: np.mean([gram[path] for gram in grams], axis=0) for path in grams[0]}


def by_part(grams: Grams, encoder: EncoderConfig) -> dict[str, tuple[np.ndarray, sharing.Table]]:
  """Gram matrix and table of each part of a layer ("attn", "ffn", or "rnn"), and of each of its parameters by path.

  That of a part takes in the parameters that are shared by the part's own table, not those with a table of their own.
  Left out is what has no gradient.
  """
  grams = {path: gram for path, gram in grams.items() if path not in NO_GRADIENT}
  found = {}
  for part, table in encoder.part_tables.items():
    paths = [path for path in grams if path.startswith(f"{part}/") and encoder.tables[path] == table]
    if paths:
      found[part] = sum(grams[path] for path in paths), table
  return found | {path: (gram, encoder.tables[path]) for path, gram in grams.items()}


def conflict(gram_LL: np.ndarray, table: sharing.Table) -> dict[str, np.ndarray]:
  """Describes how the gradients g_l of layers on their weight groups agree.

  Args:
    gram_LL: their scalar products.
    table: which layers share a group.

  Returns:
    cosine [L, L]: between the gradients of two layers; NaN where they read different groups.
    to_sum [L]: cosine between a layer's gradient and that of its group, the sum.
    agreement [G]: ‖Σ g_l‖ / Σ ‖g_l‖ over the layers of a group: 1 where all point the same way, 0 where they cancel.
    share [L]: ‖g_l‖ as a part of the sum of all layers' norms.
    Where a gradient is 0, so are its cosines.
  """
  table_L = np.array(table)
  is_same_LL = table_L[:, None] == table_L[None, :]
  norm_L = np.sqrt(np.maximum(np.diag(gram_LL), 0))
  shared_LL = np.where(is_same_LL, gram_LL, 0)
  with_sum_L = shared_LL.sum(axis=1)  # g_l · Σ
  members_GL = np.arange(sharing.num_groups(table))[:, None] == table_L
  sum_norm_G = np.sqrt(np.maximum(members_GL @ with_sum_L, 0))
  return {
    "cosine": np.where(is_same_LL, _divide(gram_LL, norm_L[:, None] * norm_L), np.nan),
    "to_sum": _divide(with_sum_L, norm_L * sum_norm_G[table_L]),
    "agreement": _divide(sum_norm_G, members_GL @ norm_L),
    "share": _divide(norm_L, norm_L.sum()),
  }


def _divide(a: np.ndarray, b: np.ndarray) -> np.ndarray:
  a, b = np.broadcast_arrays(np.asarray(a, np.float64), np.asarray(b, np.float64))
  return np.divide(a, b, out=np.zeros(a.shape), where=b > 0)
