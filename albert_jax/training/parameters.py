"""Trees of parameters by path."""

import jax


def path_name(path) -> str:
  """A tree path as "encoder/attn/query/kernel"."""
  return "/".join(str(getattr(entry, "key", getattr(entry, "name", entry))) for entry in path)


def count(params) -> int:
  """The number of scalars in a tree of arrays or their shapes."""
  return sum(leaf.size for leaf in jax.tree.leaves(params))
