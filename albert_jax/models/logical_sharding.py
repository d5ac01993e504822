"""Logical sharding: models name the dims of an activation by letters, the caller says which mesh axes the letters mean.

XLA propagates shardings from parameters too, and would split activations as it finds the weights split: every device
would then work on the whole batch. So the models constrain them.
"""

import contextlib
import contextvars
import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec


@dataclasses.dataclass(frozen=True)
class LogicalRules:
  """Where the program that is being traced will run.

  Attributes:
    platform: "cpu", "gpu" or "tpu"; of the mesh's devices, which need not be those of this process.
    mesh: the devices; None for a single one, which leaves everything as it is.
    axes: the mesh axes that split a dim, by its letter. A dim that they do not divide stays whole.
  """

  platform: str
  mesh: Mesh | None = None
  axes: Mapping[str, str | Sequence[str]] = dataclasses.field(default_factory=dict)

  def spec(self, dims: str, shape: Sequence[int]) -> PartitionSpec:
    """How an array with these dims, e.g. "BTD", is split."""
    found = (self.axes.get(letter) for letter in dims)
    return PartitionSpec(
      *(axes if length % self._size(axes) == 0 else None for axes, length in zip(found, shape, strict=True))
    )

  def _size(self, axes: str | Sequence[str] | None) -> int:
    return math.prod(self.mesh.shape[axis] for axis in ([axes] if isinstance(axes, str) else axes or ()))


_rules: contextvars.ContextVar[LogicalRules | None] = contextvars.ContextVar("logical_rules", default=None)


@contextlib.contextmanager
def use_rules(rules: LogicalRules) -> Iterator[None]:
  """Within the context, models are traced by these rules."""
  token = _rules.set(rules)
  try:
    yield
  finally:
    _rules.reset(token)


def current_rules() -> LogicalRules:
  """Those of `use_rules`; outside of it, those of one default device."""
  return _rules.get() or LogicalRules(jax.default_backend())


def constrain(x: jax.Array, dims: str) -> jax.Array:
  """x, split as arrays of these dims are."""
  rules = current_rules()
  if rules.mesh is None:
    return x
  return jax.lax.with_sharding_constraint(x, NamedSharding(rules.mesh, rules.spec(dims, x.shape)))


def map_shards(function: Callable, arguments: Sequence[jax.Array], dims: Sequence[str], out: str) -> jax.Array:
  """Calls a function on each device's own part of the arguments, for what XLA cannot split by itself.

  Args:
    function: takes and gives arrays whose sharded dims may be shorter.
    arguments: arrays.
    dims: of each argument.
    out: dims of the result, all of which some argument has.
  """
  rules = current_rules()
  if rules.mesh is None:
    return function(*arguments)
  in_specs = tuple(rules.spec(letters, x.shape) for letters, x in zip(dims, arguments, strict=True))
  lengths = {letter: n for letters, x in zip(dims, arguments) for letter, n in zip(letters, x.shape)}
  out_specs = rules.spec(out, [lengths[letter] for letter in out])
  # Not check_vma: Pallas kernels do not say over which mesh axes their results vary.
  return jax.shard_map(function, mesh=rules.mesh, in_specs=in_specs, out_specs=out_specs, check_vma=False)(*arguments)
