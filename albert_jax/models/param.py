"""A parameter is declared in one place: its axes, shape and initial value.

Axes are letters, one for each dimension (docs/architecture.md); `training.sharding` maps them to mesh axes.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx, traverse_util

# Standard deviation of the normal before its tails beyond two are cut off (arXiv 1810.04805, released code).
INIT_STDDEV = 0.02

_DEPTH_STREAM = 2**31 - 1  # beyond the numbers that the other parameters' keys are folded from

_truncated_normal = jax.nn.initializers.truncated_normal(INIT_STDDEV)


@dataclasses.dataclass(frozen=True)
class Axes:
  """The declaration of a parameter.

  Attributes:
    letters: one for each dimension; a leading G counts weight groups, which are stacked.
    is_vector: whether it is a bias or belongs to a LayerNorm: those are not decayed, adapted or sharded.
  """

  letters: str
  is_vector: bool = False

  @property
  def is_stacked(self) -> bool:
    """Whether the leading axis counts weight groups."""
    return self.letters.startswith("G")


def weight(letters: str, shape: tuple[int, ...], rngs: nnx.Rngs, *, stream: str = "params") -> nnx.Param:
  """A float32 weight with the truncated normal initialisation, drawn from a stream of `rngs`."""
  return nnx.Param(_truncated_normal(rngs[stream](), shape, jnp.float32), axes=Axes(letters))


def uniform(letters: str, shape: tuple[int, ...], limit: float, rngs: nnx.Rngs) -> nnx.Param:
  """A float32 weight that is uniform between ±limit."""
  return nnx.Param(jax.random.uniform(rngs.params(), shape, jnp.float32, -limit, limit), axes=Axes(letters))


def constant(letters: str, shape: tuple[int, ...], value: float, *, is_vector: bool = True) -> nnx.Param:
  """A float32 parameter that starts as a constant: a bias, or a part of a LayerNorm."""
  return nnx.Param(jnp.full(shape, value, jnp.float32), axes=Axes(letters, is_vector))


def init_params(make: Callable[[nnx.Rngs], nnx.Module], rng: jax.Array) -> dict:
  """New parameters of a module: a nested dict of float32 arrays.

  What a layer has for itself (`depth`) is drawn from a stream of its own, so that it changes no other draw.
  """
  return nnx.to_pure_dict(nnx.state(make(nnx.Rngs(rng, depth=jax.random.fold_in(rng, _DEPTH_STREAM)))))


def abstract_module(make: Callable[[nnx.Rngs], nnx.Module]) -> nnx.GraphDef:
  """A module without its weights, of which none is made: `nnx.merge(abstract_module(make), params)` is the module."""
  return nnx.split(nnx.eval_shape(lambda: make(nnx.Rngs(0))))[0]


def param_axes(make: Callable[[nnx.Rngs], nnx.Module]) -> dict:
  """The declared axes of a module's parameters: a nested dict of `Axes`, in the places of the parameters.

  Raises:
    ValueError: a parameter declares no axes, or not one letter for each dimension.
  """
  found = {}
  for path, variable in nnx.to_flat_state(nnx.state(nnx.eval_shape(lambda: make(nnx.Rngs(0))))):
    axes, shape = variable.get_metadata().get("axes"), variable.get_value().shape
    if not isinstance(axes, Axes) or len(axes.letters) != len(shape):
      letters = axes.letters if isinstance(axes, Axes) else "none"
      name = "/".join(path)
      raise ValueError(f"Parameter {name} of shape {shape} must declare a letter for each axis, it has {letters}.")
    found[path] = axes
  return traverse_util.unflatten_dict(found)


def path_name(path) -> str:
  """A path in a tree of parameters as "encoder/attn/query/kernel"."""
  return "/".join(str(getattr(entry, "key", getattr(entry, "name", entry))) for entry in path)


def count(params) -> int:
  """The number of scalars in a tree of arrays or their shapes."""
  return sum(leaf.size for leaf in jax.tree.leaves(params))
