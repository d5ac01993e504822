"""The mesh, and where on it everything lies. No other module knows a mesh axis by name.

A batch is split over `data` and `fsdp`; `fsdp` also splits the parameters and the optimizer's state; `tensor` splits
heads, the feed-forward width and the vocabulary. XLA inserts the collectives (GSPMD, arXiv 2105.04663).
"""

import math

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from albert_jax.errors import InputError
from albert_jax.models.logical_sharding import LogicalRules
from albert_jax.models.param import Axes

AXES = ("data", "fsdp", "tensor")

# Letter of a parameter's dim → mesh axis. An axis splits one dim of a parameter at most: the first that it divides.
PARAM_AXES = {"V": "tensor", "H": "tensor", "F": "tensor", "D": "fsdp", "E": "fsdp"}
BATCH_AXES = ("data", "fsdp")
# Letter of an activation's dim, or of a weight's in use → mesh axes. What `fsdp` splits is gathered for its use.
ACTIVATION_AXES = {"B": BATCH_AXES, "H": "tensor", "F": "tensor", "V": "tensor"}


def make_mesh(sizes: dict[str, int], devices=None) -> Mesh:
  """Builds the mesh data × fsdp × tensor.

  Args:
    sizes: devices along each axis; one of them may be -1, the rest of the devices.
    devices: all by default.

  Raises:
    InputError: the sizes do not multiply to the number of devices.
  """
  devices = jax.devices() if devices is None else devices
  shape = [sizes[axis] for axis in AXES]
  wanted = "×".join(map(str, shape))
  if any(size < 1 and size != -1 for size in shape) or shape.count(-1) > 1:
    raise InputError(f"mesh {wanted} (data × fsdp × tensor): every size must be positive, at most one of them -1.")
  if -1 in shape:
    shape[shape.index(-1)] = max(1, len(devices) // -math.prod(shape))
  if math.prod(shape) != len(devices):
    raise InputError(
      f"mesh {wanted} (data × fsdp × tensor) does not fit {len(devices)} device(s): "
      "the sizes must multiply to their number; -1 takes the rest."
    )
  return jax.make_mesh(shape, AXES, axis_types=(AxisType.Auto,) * len(AXES), devices=devices)


def param_shardings(params, axes, mesh: Mesh):
  """The shardings of a tree of parameters with these `Axes`.

  A dim that its mesh axis does not divide stays whole, and so do vectors.
  """

  def sharding(leaf, declared: Axes) -> NamedSharding:
    spec: list[str | None] = [None] * leaf.ndim
    for number, letter in enumerate("" if declared.is_vector else declared.letters):
      axis = PARAM_AXES.get(letter)
      if axis is not None and axis not in spec and leaf.shape[number] % mesh.shape[axis] == 0:
        spec[number] = axis
    return NamedSharding(mesh, PartitionSpec(*spec))

  return jax.tree.map(sharding, params, axes)


def state_shardings(state, axes, mesh: Mesh):
  """The shardings of a whole train state: whatever has the parameters' tree lies as they do, the rest is replicated."""
  of_params = param_shardings(state.params, axes, mesh)
  structure = jax.tree.structure(state.params)

  def is_params(node) -> bool:
    return jax.tree.structure(node) == structure

  return jax.tree.map(lambda node: of_params if is_params(node) else replicated(mesh), state, is_leaf=is_params)


def activation_rules(mesh: Mesh) -> LogicalRules:
  """Where a model's activations lie on a mesh."""
  return LogicalRules(mesh.devices.flat[0].platform, mesh, ACTIVATION_AXES)


def replicated(mesh: Mesh) -> NamedSharding:
  """The same on every device."""
  return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: Mesh) -> NamedSharding:
  """The leading dim, rows, over the batch axes."""
  return NamedSharding(mesh, PartitionSpec(BATCH_AXES))


def batch_shards(mesh: Mesh) -> int:
  """In how many parts a batch is split."""
  return math.prod(mesh.shape[axis] for axis in BATCH_AXES)


def check_batch_size(key: str, rows: int, mesh: Mesh, microbatches: int = 1) -> None:
  """Raises InputError unless each of the microbatches can be split evenly over the mesh."""
  parts = batch_shards(mesh) * microbatches
  if rows < 1 or rows % parts:
    raise InputError(
      f"{key} {rows} is not a multiple of {parts} = mesh.data × mesh.fsdp ({batch_shards(mesh)}) × microbatches "
      f"({microbatches}). The nearest that are: {rows // parts * parts or parts}, {(rows // parts + 1) * parts}."
    )


def local_rows(sharding: NamedSharding, rows: int) -> tuple[int, int]:
  """The range of a global batch's rows that this process's devices hold (several processes may hold the same)."""
  slices = [index[0] for index in sharding.addressable_devices_indices_map((rows,)).values()]
  return min(s.start or 0 for s in slices), max(rows if s.stop is None else s.stop for s in slices)


def to_devices(local: dict[str, np.ndarray], sharding: NamedSharding, rows: int) -> dict[str, jax.Array]:
  """Makes global arrays of `rows` rows from this process's own, which are `local_rows`."""
  first, _ = local_rows(sharding, rows)

  def place(array: np.ndarray) -> jax.Array:
    def part(index):
      start, stop, _ = index[0].indices(rows)
      return array[start - first : stop - first]

    return jax.make_array_from_callback((rows, *array.shape[1:]), sharding, part)

  return {name: place(array) for name, array in local.items()}
