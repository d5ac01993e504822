"""The one table of parameters: each path's dims, as letters of the README's alphabet.

Sharding (`training.sharding`) maps the letters to mesh axes; the optimizer reads from them which weights are stacked by
group (a leading G) and which are vectors. A parameter that matches no row, or more than one, stops the program before
anything is allocated.
"""

import re

import jax

DIMS: tuple[tuple[str, str], ...] = (
  (r"encoder/embeddings/word", "VE"),
  (r"encoder/embeddings/position", "PE"),
  (r"encoder/embeddings/type", "YE"),
  (r"encoder/embeddings/norm/(scale|bias)", "E"),
  (r"encoder/embeddings/projection/kernel", "ED"),
  (r"encoder/embeddings/projection/bias", "D"),
  (r"encoder/attn/(query|key|value)/kernel", "GDHK"),
  (r"encoder/attn/(query|key|value)/bias", "GHK"),
  (r"encoder/attn/output/kernel", "GHKD"),
  (r"encoder/ffn/up/kernel", "GDF"),
  (r"encoder/ffn/up/bias", "GF"),
  (r"encoder/ffn/down/kernel", "GFD"),
  (r"encoder/(attn/output|ffn/down)/bias", "GD"),
  (r"encoder/(attn|ffn)/norm/(scale|bias)", "GD"),
  (r"mlm/dense/kernel", "DE"),
  (r"mlm/dense/bias", "E"),
  (r"mlm/norm/(scale|bias)", "E"),
  (r"mlm/bias", "V"),
  (r"pooler/dense/kernel", "DD"),
  (r"pooler/dense/bias", "D"),
  (r"(pair|classifier|span)/kernel", "DC"),
  (r"(pair|classifier|span)/bias", "C"),
)


def path_name(path) -> str:
  """A tree path as "encoder/attn/query/kernel"."""
  return "/".join(str(getattr(entry, "key", getattr(entry, "name", entry))) for entry in path)


def param_dims(params):
  """Returns the tree of letters that belongs to a tree of parameters (arrays or their shapes).

  Raises:
    ValueError: a path matches no row of `DIMS` or several, or its rank is not that of its row.
  """

  def dims(path, leaf) -> str:
    name = path_name(path)
    rows = [letters for pattern, letters in DIMS if re.fullmatch(pattern, name)]
    if len(rows) != 1:
      raise ValueError(f"Parameter {name} must match one row of training.parameters.DIMS, it matches {len(rows)}.")
    if len(rows[0]) != leaf.ndim:
      raise ValueError(
        f"Parameter {name} has shape {leaf.shape}, but its dims in training.parameters.DIMS are {rows[0]}."
      )
    return rows[0]

  return jax.tree_util.tree_map_with_path(dims, params)


def is_stacked(dims: str) -> bool:
  """Whether the leading axis counts weight groups."""
  return dims.startswith("G")


def is_vector(name: str, dims: str) -> bool:
  """Whether a parameter is a bias or belongs to a LayerNorm: those are not decayed, adapted, or sharded."""
  return name.endswith("bias") or "/norm/" in name or len(dims.removeprefix("G")) < 2


def vector_mask(params):
  """The tree of `is_vector` for a tree of parameters."""
  return jax.tree_util.tree_map_with_path(lambda path, dims: is_vector(path_name(path), dims), param_dims(params))


def count(params) -> int:
  """The number of scalars in a tree of arrays or their shapes."""
  return sum(leaf.size for leaf in jax.tree.leaves(params))
