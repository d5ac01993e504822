"""Training by depth: smaller steps for lower layers (arXiv 2003.10555, appendix B), or none at all.

Layers share weight groups, so a group's depth is that of the last layer that reads it.
"""

from collections.abc import Mapping

import jax
import numpy as np
import optax

from albert_jax.errors import InputError
from albert_jax.models.param import path_name
from albert_jax.models.sharing import Table


def depth_factors(params, tables: Mapping[str, Table], decay: float, frozen_layers: int):
  """The factor of each parameter's update.

  Args:
    params: the parameters or their shapes.
    tables: the sharing table of each parameter of a layer, by its path in the encoder.
    decay: layer l of L takes decay^(L − l), the embeddings decay^(L + 1), what sits on the encoder 1.
    frozen_layers: this many of the lowest layers and the embeddings take 0; 0 = nothing is frozen.

  Returns:
    A tree of float32 arrays that broadcast against the parameters.

  Raises:
    InputError: a frozen layer shares its weights with one that is not.
  """
  layers = len(next(iter(tables.values())))
  if not 0 <= frozen_layers <= layers:
    raise InputError(f"optimizer.frozen_layers must be between 0 and model.layers {layers}, got {frozen_layers}.")
  by_path = {path: _group_factors(path, table, decay, frozen_layers) for path, table in tables.items()}
  by_layer = _group_factors("depth", tuple(range(layers)), decay, frozen_layers)

  def factor(path, leaf) -> np.ndarray:
    module, _, rest = path_name(path).partition("/")
    if module != "encoder":
      return np.ones([], np.float32)
    if rest.startswith("embeddings/"):
      return np.float32(0.0 if frozen_layers else decay ** (layers + 1))
    factors = by_layer if rest.startswith("depth/") else by_path[rest]
    return factors.reshape(-1, *[1] * (leaf.ndim - 1))

  return jax.tree_util.tree_map_with_path(factor, params)


def scale_by_tree(factors) -> optax.GradientTransformation:
  """Multiplies each update by its factor."""

  def update(updates, state, params=None):
    del params
    return jax.tree.map(lambda update, factor: update * factor, updates, factors), state

  return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def _group_factors(path: str, table: Table, decay: float, frozen_layers: int) -> np.ndarray:
  """One factor a group."""
  factors = np.zeros(max(table) + 1, np.float32)
  for layer, group in enumerate(table):
    if layer >= frozen_layers and group in table[:frozen_layers]:
      raise InputError(
        f"optimizer.frozen_layers {frozen_layers}: layer {layer} shares {path} with a frozen layer, "
        f"{table.index(group)}. Freeze all layers ({len(table)}), or choose a number that splits no group."
      )
    factors[group] = 0.0 if layer < frozen_layers else decay ** (len(table) - layer)
  return factors
