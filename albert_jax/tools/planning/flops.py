"""Counts the FLOPs of matrix products in a traced program."""

import math

from jax.extend import core


def matmul_flops(jaxpr: core.Jaxpr) -> float:
  """FLOPs of all matrix products of a jaxpr, on all devices together.

  The bodies of scans count as often as they run, those of Pallas kernels once for each point of their grid, and what
  the backward pass computes again counts again. A loop of unknown length counts once, of the branches of a condition
  the dearest.
  """
  return float(sum(_equation_flops(equation) for equation in jaxpr.eqns))


def _equation_flops(equation) -> float:
  if equation.primitive.name == "dot_general":
    (contracted, _), _ = equation.params["dimension_numbers"]
    lhs = equation.invars[0].aval.shape
    return 2 * math.prod(equation.outvars[0].aval.shape) * math.prod(lhs[axis] for axis in contracted)
  inner = [matmul_flops(jaxpr) for value in equation.params.values() for jaxpr in _jaxprs(value)]
  return (max(inner) if equation.primitive.name == "cond" else sum(inner)) * _times(equation)


def _times(equation) -> int:
  """How often what is inside runs."""
  match equation.primitive.name:
    case "scan":
      return equation.params["length"]
    case "pallas_call":
      return math.prod(equation.params["grid_mapping"].grid)
    case "shard_map":
      return equation.params["mesh"].size
  return 1


def _jaxprs(value):
  if isinstance(value, core.ClosedJaxpr):
    yield value.jaxpr
  elif isinstance(value, core.Jaxpr):
    yield value
  elif isinstance(value, tuple | list):
    for item in value:
      yield from _jaxprs(item)
