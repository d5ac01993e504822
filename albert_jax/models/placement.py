"""Where activations lie: the models name their dims by letters, the caller says what the letters mean on its mesh.

XLA propagates shardings from parameters too, and without a word from us it would split activations as it finds the
weights split: every device would then work on the whole batch.
"""

import contextlib
import contextvars
from collections.abc import Callable, Iterator

import jax

Constrain = Callable[[jax.Array, str], jax.Array]

_constrain: contextvars.ContextVar[Constrain] = contextvars.ContextVar("constrain", default=lambda x, dims: x)


def constrain(x: jax.Array, dims: str) -> jax.Array:
  """x, placed as the caller wants an array of these dims, e.g. "BTD"; x as it is where nobody asked for anything."""
  return _constrain.get()(x, dims)


@contextlib.contextmanager
def constrained_by(function: Constrain) -> Iterator[None]:
  """Within the context, while a model is traced, `constrain` is `function`."""
  token = _constrain.set(function)
  try:
    yield
  finally:
    _constrain.reset(token)
