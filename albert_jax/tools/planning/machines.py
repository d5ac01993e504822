"""Machines to plan for, by the name of their topology: slices of TPUs, and machines with GPUs."""

from albert_jax.errors import unknown
from albert_jax.tools.planning.cards import CARDS, Card, card_of, open_cards
from albert_jax.tools.planning.chips import CHIPS, Chip, chip_of, open_topology

Machine = Chip | Card  # what is known of one of the devices


def machine_of(topology: str) -> Machine:
  """The kind of device that a topology's name names, such as "v5e:16x16" or "h100:8".

  Raises:
    InputError: there is no such kind, or the name lacks its shape.
  """
  kind = topology.partition(":")[0]
  if kind in CARDS:
    return card_of(topology)[0]
  if kind in CHIPS:
    return chip_of(topology)
  raise unknown("kind of TPU or GPU in --topology", kind, {*CHIPS, *CARDS})


def open_devices(topology: str) -> list:
  """The devices of a topology, to compile for.

  Raises:
    InputError: the compiler for such devices is not installed, or does not know the topology.
  """
  return open_cards(topology) if topology.partition(":")[0] in CARDS else open_topology(topology)
