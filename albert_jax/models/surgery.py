"""Weights for other sharing tables or another depth: share ↔ unshare ↔ regroup ↔ more or fewer layers.

First each layer of the new model stands for layers of the old one: for itself; in a deeper model the old layers are
stacked over and over (Gong et al., Efficient Training of BERT by Progressively Stacking, ICML 2019); in a shallower one
the rule chooses. Then each weight group takes from the layers that read it, by the rule (of arXiv 2410.20672):

- "average": their mean.
- "stepwise": one layer for each group, evenly spaced from the first to the last.
- "lower": the lowest of them.
- "svd": the mean, and in each layer's low-rank additions what it is short of the old layer, as far as the rank goes.

A parameter with the same table keeps its groups, and so does one with as many groups in a model of another depth.
"""

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from albert_jax.models.depth import fixed_inputs
from albert_jax.models.materialise import materialise
from albert_jax.models.sharing import Table, num_groups
from albert_jax.models.sizes import MATRICES, DepthConfig, EncoderConfig

RULES = ("average", "stepwise", "lower", "svd")
# How the gradients of the layers that read a group are taken to agree, where the optimizer's moments follow.
MOMENTS = ("parallel", "independent", "copy")


def transplant(encoder: Mapping, old: EncoderConfig, new: EncoderConfig, rule: str) -> dict:
  """Parameters of an encoder for other tables, another depth, or other parts that each layer owns.

  Parts of a layer's own (`DepthConfig`) that the new model has in the same form go with their layers; others are folded
  into the weights first, so that the layers compute what they did. Fixed parts that only the new model has come on top.

  Args:
    encoder: parameters of the old model, a nested dict of arrays.
    old: the old model.
    new: the new one, of the same widths.
    rule: a name of `RULES`.

  Returns:
    A nested dict of arrays; without what the new model's layers own beside weights and has no counterpart.
  """
  flat = flatten_dict(dict(encoder), sep="/")
  folded = folded_depth(old, new, rule)
  tables = _tables(old, flat)
  if not folded.is_plain:
    kept = {path: flat.pop(path) for path in [*flat] if _is_own(path) and not _is_folded(path, folded)}
    materialised = materialise(unflatten_dict(flat, sep="/"), dataclasses.replace(old, depth=folded))
    flat = flatten_dict(materialised, sep="/") | kept
    tables = dict.fromkeys(tables, tuple(range(old.layers)))
  moved = {
    path: combine(w, weights(tables[path], _table(new, path), rule)) for path, w in flat.items() if path in tables
  }
  if rule == "svd":
    every = tuple(range(new.layers))
    for path in _low_rank_modules(new):
      wanted_L = combine(flat[f"{path}/kernel"], weights(tables[f"{path}/kernel"], every, rule))
      shared_L = moved[f"{path}/kernel"][np.array(new.tables[f"{path}/kernel"])]
      inputs = 2 if path == "attn/output" else 1
      factors = low_rank(wanted_L - shared_L, inputs, new.depth.lora)
      moved |= {f"depth/{path}/{name}": factor for name, factor in zip("ab", factors)}
  return unflatten_dict(flat | moved, sep="/")


def transplant_moments(
  moments: Mapping[str, Mapping], old: EncoderConfig, new: EncoderConfig, rule: str, assumption: str
) -> dict[str, dict]:
  """Running means of gradients, μ, and of their squares, ν, for other tables or another depth.

  The gradient of a group is the sum over its c readers. If these are "parallel", one of them has μ/c and ν/c²; if they
  are "independent", μ/c and ν/c. "copy" treats moments as weights.

  Args:
    moments: "mu" and "nu", each as the encoder's parameters.
    old: the old model.
    new: the new one; `folded_depth` of the two is plain.
    rule: a name of `RULES`.
    assumption: a name of `MOMENTS`.

  Returns:
    "mu" and "nu" of the new model.
  """

  def move(path: str, w: jax.Array, is_square: bool) -> jax.Array:
    tables = _table(old, path), _table(new, path)
    if assumption == "copy":
      return combine(w, weights(*tables, "average"))
    parts = gradient_weights(*tables, rule)
    if is_square and assumption == "parallel":
      return jnp.square(combine(jnp.sqrt(w), parts))
    return combine(w, parts)

  found = {}
  for name in ("mu", "nu"):
    flat = flatten_dict(dict(moments[name]), sep="/")
    moved = {path: move(path, flat[path], name == "nu") for path in _tables(old, flat)}
    found[name] = unflatten_dict(flat | moved, sep="/")
  return found


def folded_depth(old: EncoderConfig, new: EncoderConfig, rule: str) -> DepthConfig:
  """What each layer of the old model owns that goes into its weights, since the new one has it not or otherwise."""
  own = old.depth
  same_lora = (own.lora, own.lora_on) == (new.depth.lora, new.depth.lora_on) and rule != "svd"
  scales = [{k: list(v) for k, v in fixed_inputs(m).items() if k.startswith("residual")} for m in (old, new)]
  same_residual = own.residual == new.depth.residual and scales[0] == scales[1]
  return DepthConfig(
    lora=0 if same_lora else own.lora,
    lora_on=own.lora_on,
    embedding="none" if own.embedding == new.depth.embedding else own.embedding,
    residual="one" if same_residual else own.residual,
  )


def weights(old: Table, new: Table, rule: str) -> np.ndarray:
  """[new groups, old groups]: the part of each old weight group in each new one; every row adds up to 1."""
  groups = num_groups(new)
  if _keeps_groups(old, new):
    return np.eye(groups)
  layers = _sources(len(old), len(new), rule) @ _one_hot(old)
  if rule == "stepwise":
    return layers[_evenly(groups, len(new))]
  if rule == "lower":
    return layers[[new.index(group) for group in range(groups)]]
  readers = _one_hot(new)
  return readers.T @ layers / readers.sum(0)[:, None]


def gradient_weights(old: Table, new: Table, rule: str) -> np.ndarray:
  """[new groups, old groups]: gradients of the new weight groups from those of the old.

  A group's gradient is the sum over the layers that read it, each of which is taken to have had an equal part.
  """
  old_readers, new_readers = _one_hot(old), _one_hot(new)
  if _keeps_groups(old, new):
    return np.diag(new_readers.sum(0) / old_readers.sum(0))
  return new_readers.T @ _sources(len(old), len(new), rule) @ (old_readers / old_readers.sum(0))


def combine(stack: jax.Array, parts: np.ndarray) -> jax.Array:
  """Weighted sums of the entries of a stack: [old, ...] and [new, old] → [new, ...].

  As a running mean times the sum of the weights: the mean of equal entries is what they are, to the bit.
  """

  def row(of_row: np.ndarray) -> jax.Array:
    total, mean = 0.0, jnp.zeros(stack.shape[1:], stack.dtype)
    for entry in np.flatnonzero(of_row):
      total += of_row[entry]
      mean += float(of_row[entry] / total) * (stack[entry] - mean)
    return float(total) * mean

  return jnp.stack([row(of_row) for of_row in parts])


def low_rank(residual_L: jax.Array, inputs: int, rank: int) -> tuple[jax.Array, jax.Array]:
  """The best A·B of a rank for each entry, by singular value decomposition.

  The singular values are in B, so that A is not 0 where there is nothing to add, and can be learned from there.

  Args:
    residual_L: [L, *inputs, *outputs].
    inputs: how many dims are inputs.
    rank: R.

  Returns:
    a [L, *inputs, R] and b [L, R, *outputs].
  """
  layers, shape = residual_L.shape[0], residual_L.shape[1:]
  rows = int(np.prod(shape[:inputs]))

  def factors(residual):
    u, s, vt = jnp.linalg.svd(residual, full_matrices=False)
    missing = max(0, rank - s.size)
    return jnp.pad(u[:, :rank], ((0, 0), (0, missing))), jnp.pad((s[:, None] * vt)[:rank], ((0, missing), (0, 0)))

  a, b = jax.lax.map(factors, residual_L.reshape(layers, rows, -1))
  return a.reshape(layers, *shape[:inputs], rank), b.reshape(layers, rank, *shape[inputs:])


def _low_rank_modules(config: EncoderConfig) -> list[str]:
  """Paths of the modules whose matrices have low-rank additions, such as "attn/query"."""
  return [f"{part}/{name}" for part, names in MATRICES.items() for name in names if name in config.depth.lora_on]


def _tables(config: EncoderConfig, paths) -> dict[str, Table]:
  """The table of every stack among paths in the encoder."""
  return {path: _table(config, path) for path in paths if _is_own(path) or path in config.tables}


def _table(config: EncoderConfig, path: str) -> Table:
  return tuple(range(config.layers)) if _is_own(path) else config.tables[path]


def _is_own(path: str) -> bool:
  return path.startswith("depth/")


def _is_folded(path: str, folded: DepthConfig) -> bool:
  name = path.removeprefix("depth/")
  if name.startswith("residual"):
    return folded.residual == "learned"
  return folded.embedding == "learned" if name == "embedding" else folded.lora > 0


def _keeps_groups(old: Table, new: Table) -> bool:
  return old == new or (len(old) != len(new) and num_groups(old) == num_groups(new))


def _sources(old: int, new: int, rule: str) -> np.ndarray:
  """[new layers, old layers]: what each new layer stands for; every row adds up to 1."""
  if new >= old:
    return np.eye(old)[np.arange(new) % old]
  if rule == "stepwise":
    return np.eye(old)[_evenly(new, old)]
  if rule == "lower":
    return np.eye(old)[:new]
  runs = _one_hot(tuple(layer * new // old for layer in range(old))).T
  return runs / runs.sum(1)[:, None]


def _evenly(count: int, length: int) -> list[int]:
  """`count` of the numbers 0 … length − 1, the first and the last among them."""
  return [round(number * (length - 1) / max(count - 1, 1)) for number in range(count)]


def _one_hot(table: Table) -> np.ndarray:
  """[layers, groups]."""
  return np.eye(num_groups(table))[list(table)]
