"""TPU chips by their data sheets, and slices of them as the compiler sees them, without a TPU."""

import dataclasses
import re

from jax.experimental import topologies

from albert_jax.errors import InputError, unknown

GIB = 2**30


@dataclasses.dataclass(frozen=True)
class Chip:
  """A kind of chip, by its data sheet.

  Attributes:
    peak: dense bfloat16 FLOP/s.
    clock: of the matrix units, in Hz: the peak over their multiply-adds a cycle.
    memory: bytes that a program may use, as the compiler tells them.
    link_rate: bytes a second that one link to a neighbour sends.
    axes: of the torus; a chip has two links on each.
    megacore: whether two cores work as one device.
  """

  peak: float
  clock: float
  memory: float
  link_rate: float
  axes: int
  megacore: bool = False

  @property
  def shapes(self) -> tuple[str, ...]:
    """Slices from 8 to 1024 chips, or to the largest that there is."""
    return SHAPES[self.axes]

  def transfer_rate(self, group: int, chips: int) -> float:
    """Bytes a second that a chip sends in a transfer among `group` of `chips` chips: over all axes or over one."""
    return 2 * self.link_rate * (self.axes if group == chips else 1)


SHAPES = {  # axes of the torus → slices
  2: ("2x4", "4x4", "4x8", "8x8", "8x16", "16x16"),
  3: ("2x2x2", "2x2x4", "2x4x4", "4x4x4", "4x4x8", "4x8x8", "8x8x8", "8x8x16"),
}
# cloud.google.com/tpu/docs/{v4,v5e,v5p,v6e}: peak, and "interchip interconnect" of all links, both ways.
CHIPS = {
  "v4": Chip(275e12, 1.05e9, 30.75 * GIB, 50e9, 3, megacore=True),
  "v5e": Chip(197e12, 1.5e9, 15.75 * GIB, 50e9, 2),
  "v5p": Chip(459e12, 1.75e9, 95.74 * GIB, 100e9, 3, megacore=True),
  "v6e": Chip(918e12, 1.75e9, 31.25 * GIB, 100e9, 2),
}


def chip_of(topology: str) -> Chip:
  """The chip of a topology's name, such as "v5e:16x16".

  Raises:
    InputError: the name has no such kind.
  """
  kind, colon, _ = topology.partition(":")
  if kind not in CHIPS:
    raise unknown("kind of TPU in --topology", kind, CHIPS)
  if not colon:
    raise InputError(f'--topology={topology} lacks its shape: write it as "{kind}:4x4{"x4" * (CHIPS[kind].axes - 2)}".')
  return CHIPS[kind]


def open_topology(name: str) -> list:
  """The devices of a slice, to compile for.

  Args:
    name: as libtpu knows it, e.g. "v5e:16x16" or "v5p:4x4x8"; the product is the number of chips.

  Raises:
    InputError: libtpu is not installed, or does not know the topology.
  """
  if chip_of(name).axes == 2 and any(int(length) > 16 for length in re.findall(r"\d+", name.partition(":")[2])):
    raise InputError(f"--topology={name}: the largest slice of this kind is 16x16.")  # libtpu would abort
  options = {"chip_config_name": "megacore"} if chip_of(name).megacore else {}
  try:
    return topologies.get_topology_desc(platform="tpu", topology_name=name, **options).devices
  except RuntimeError as error:
    if "TPU support not installed" in str(error):
      raise InputError("Planning needs libtpu: pip install -e '.[plan]'.") from error
    raise InputError(f"--topology={name}: {str(error).partition('INVALID_ARGUMENT: ')[2] or error}") from error
