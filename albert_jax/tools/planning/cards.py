"""GPUs by their data sheets, and machines with them as the compiler sees them, without a GPU."""

import dataclasses
import re

import jax
from jax.experimental import topologies

from albert_jax.errors import InputError, unknown

GIB = 2**30
MOST = 8  # cards of a machine, all joined by NVLink


@dataclasses.dataclass(frozen=True)
class Card:
  """A kind of card, by its data sheet.

  Attributes:
    name: as CUDA tells it.
    peak: dense bfloat16 FLOP/s.
    bandwidth: bytes a second between memory and processors.
    total_memory: bytes of memory that CUDA offers.
    link_rate: bytes a second that a card sends over all its links.
    capability: CUDA's compute capability.
    cores: streaming multiprocessors.
    clock: of them at most, in GHz.
    l2: bytes of the second-level cache.
    shared: bytes of shared memory of a multiprocessor; a block may have 1 KiB less.
  """

  name: str
  peak: float
  bandwidth: float
  total_memory: int
  link_rate: float
  capability: tuple[int, int]
  cores: int
  clock: float
  l2: int
  shared: int

  @property
  def memory(self) -> float:
    """Bytes that a program may use where XLA_PYTHON_CLIENT_MEM_FRACTION is 0.95; JAX's default is 0.75."""
    return 0.95 * self.total_memory

  @property
  def shapes(self) -> tuple[str, ...]:
    """Machines of growing size."""
    return ("1", "2", "4", "8")

  def transfer_rate(self, group: int, chips: int) -> float:
    """Bytes a second that a card sends in a transfer among `group` of `chips` cards: all links, whatever the group."""
    del group, chips
    return self.link_rate

  @property
  def target(self) -> str:
    """The text proto that XLA's compiler takes in the place of a card."""
    major, minor = self.capability
    return f"""
gpu_device_info {{
  threads_per_block_limit: 1024  threads_per_warp: 32  shared_memory_per_block: 49152
  shared_memory_per_core: {self.shared}  threads_per_core_limit: 2048  core_count: {self.cores}  fpus_per_core: 128
  block_dim_limit_x: 2147483647  block_dim_limit_y: 65535  block_dim_limit_z: 65535
  memory_bandwidth: {self.bandwidth:.0f}  l2_cache_size: {self.l2}  clock_rate_ghz: {self.clock}
  device_memory_size: {self.total_memory}  shared_memory_per_block_optin: {self.shared - 1024}
  cuda_compute_capability {{ major: {major} minor: {minor} }}
  registers_per_core_limit: 65536  registers_per_block_limit: 65536
}}
platform_name: "CUDA"  dnn_version_info {{ major: 9 minor: 10 }}
runtime_version {{ major: 12 minor: 9 patch: 0 }}  device_description_str: "{self.name}"
"""


# NVIDIA's data sheets of the SXM modules (peaks without sparsity; NVLink's rates are those of one direction).
CARDS = {
  "a100": Card("NVIDIA A100-SXM4-80GB", 312e12, 2.039e12, 84_987_740_160, 300e9, (8, 0), 108, 1.41, 40 << 20, 167_936),
  "h100": Card(
    "NVIDIA H100 80GB HBM3", 989e12, 3.35232e12, 84_929_347_584, 450e9, (9, 0), 132, 1.98, 50 << 20, 233_472
  ),
  "h200": Card("NVIDIA H200", 989e12, 4.8e12, 150_754_820_096, 450e9, (9, 0), 132, 1.98, 50 << 20, 233_472),
}


def card_of(topology: str) -> tuple[Card, int]:
  """The card of a topology's name, such as "h100:8", and how many there are.

  Raises:
    InputError: the name has no such kind or number.
  """
  kind, _, number = topology.partition(":")
  if kind not in CARDS:
    raise unknown("kind of GPU in --topology", kind, CARDS)
  if not re.fullmatch(r"[1-9]\d?", number) or int(number) > MOST:
    raise InputError(f'--topology={topology}: write it as "{kind}:1" to "{kind}:{MOST}", the cards of one machine.')
  return CARDS[kind], int(number)


def open_cards(topology: str) -> list:
  """The devices of a machine, to compile for.

  Raises:
    InputError: JAX's CUDA plugin is not installed, or does not know the topology.
  """
  card, number = card_of(topology)
  try:
    from jax_plugins import xla_cuda12
  except ImportError as error:
    raise InputError("Planning for GPUs needs JAX's CUDA plugin: pip install -e '.[plan]'.") from error
  jax.devices("cpu")  # JAX registers the plugin where nobody has; done later it would print that somebody has
  try:
    xla_cuda12.initialize()
  except Exception as error:  # the kind of error differs between versions of JAX
    if "ALREADY_EXISTS" not in str(error):
      raise
  described = topologies.get_topology_desc(
    platform="cuda", topology_name=topology.partition(":")[0], target_config=card.target, topology=f"1x1x{number}"
  )
  return described.devices
