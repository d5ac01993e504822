"""Where activations lie: the models name their dims by letters, the caller says what the letters mean on its mesh.

XLA propagates shardings from parameters too, and without a word from us it would split activations as it finds the
weights split: every device would then work on the whole batch.
"""

import contextlib
import contextvars
from collections.abc import Callable, Iterator, Sequence

import jax


class Placement:
  """The caller's side; this one, for a single device, leaves everything as it is."""

  @property
  def platform(self) -> str:
    """What will run the program: "cpu", "gpu" or "tpu"."""
    return jax.default_backend()

  def constrain(self, x: jax.Array, dims: str) -> jax.Array:
    """x, placed as arrays of these dims are, e.g. "BTD"."""
    del dims
    return x

  def per_shard(self, function: Callable, arguments: Sequence[jax.Array], dims: Sequence[str], out: str) -> jax.Array:
    """Calls a function on each device's own part of the arguments, for what XLA cannot split by itself.

    Args:
      function: takes and gives arrays whose sharded dims may be shorter.
      arguments: arrays.
      dims: of each argument.
      out: dims of the result.
    """
    del dims, out
    return function(*arguments)


_NOWHERE = Placement()
_placement: contextvars.ContextVar[Placement] = contextvars.ContextVar("placement", default=_NOWHERE)


def current() -> Placement:
  """The placement that the model being traced is for."""
  return _placement.get()


def constrain(x: jax.Array, dims: str) -> jax.Array:
  """As `Placement.constrain`, of the current one."""
  return current().constrain(x, dims)


@contextlib.contextmanager
def placed_by(placement: Placement) -> Iterator[None]:
  """Within the context, while a model is traced, `placement` is the current one."""
  token = _placement.set(placement)
  try:
    yield
  finally:
    _placement.reset(token)
