"""Looks for the mesh, the microbatches and the remat with which a config fits and is fastest."""

import dataclasses
import math
from collections.abc import Callable

import ml_collections

from albert_jax.errors import InputError
from albert_jax.tools.planning.cards import Card
from albert_jax.tools.planning.compiled import FULL, QUICK, Choice, Compiled, TooLarge, compile_step
from albert_jax.tools.planning.estimate import step_seconds
from albert_jax.tools.planning.machines import Machine
from albert_jax.training.sharding import make_mesh

_SPLITS = ((1, 1), (4, 1), (1, 2))  # (fsdp, tensor) that are tried
_REMAT = ("none", "dots", "full")  # least work first
# Positions of a microbatch that a GPU is first tried with: enough to fill it, and a compilation takes its time.
_GPU_TOKENS = 65_536

Outcome = Compiled | TooLarge


@dataclasses.dataclass(frozen=True)
class Plan:
  """The candidates tried, and the best, compiled with full effort; None where nothing fits."""

  tried: list[Outcome]
  best: Compiled | None


def search(
  config: ml_collections.ConfigDict, devices: list, chip: Machine, say: Callable[[str], None] = lambda line: None
) -> Plan:
  """Tries what the config leaves open: a mesh, microbatches or remat that it sets are kept.

  Kinds of remat are tried on the first mesh, by their work, as long as they save microbatches; the fastest of them is
  tried on the others. For GPUs only microbatches are tried: the cards of one machine send each other the gradients
  in a small part of a step, and more microbatches cost less than computing again.

  Args:
    config: a record from `configs/`.
    devices: from `open_devices`.
    chip: their kind.
    say: is told of each outcome.

  Raises:
    InputError: the batch, or the mesh that the config sets, does not fit the slice.
  """
  tried: list[Outcome] = []
  is_gpu = isinstance(chip, Card)
  remats = (config.model.remat,) if config.model.remat != "none" or is_gpu else _REMAT
  for fsdp, tensor in _splits(config, devices)[: 1 if is_gpu else None]:
    for remat in remats:
      tried.append(_fewest_microbatches(config, devices, chip, fsdp, tensor, remat))
      say(describe(tried[-1], chip, len(devices)))
      if isinstance(tried[-1], Compiled) and tried[-1].choice.microbatches == config.train.microbatches:
        break  # other kinds of remat are more work, and what they save is not needed
    best = _fastest(tried, chip, len(devices))
    remats = (best.choice.remat,) if best else remats
  if best is None:
    return Plan(tried, None)
  if is_gpu:
    return Plan(tried, best)
  final = compile_step(config, devices, chip.memory, best.choice, FULL)
  return Plan(tried, final if isinstance(final, Compiled) else best)


def describe(outcome: Outcome, chip: Machine, chips: int) -> str:
  """One line."""
  if isinstance(outcome, TooLarge):
    return f"{outcome.choice}: needs {outcome.needed / 2**30:.1f} GiB of {outcome.available / 2**30:.1f}"
  memory, seconds = sum(outcome.memory.values()) / 2**30, step_seconds(outcome, chip, chips)
  return f"{outcome.choice}: {memory:.1f} GiB, {seconds * 1e3:,.1f} ms"


def _splits(config: ml_collections.ConfigDict, devices: list) -> list[tuple[int, int]]:
  """The (fsdp, tensor) of the config, or those that fit the slice and the batch."""
  mesh, rows = config.mesh, config.train.batch_size
  wanted = _SPLITS if (mesh.fsdp, mesh.tensor) == (1, 1) else ((mesh.fsdp, mesh.tensor),)
  splits = [split for split in wanted if len(devices) % math.prod(split) == 0 and _can_be_laid(devices, *split)]
  fitting = [(fsdp, tensor) for fsdp, tensor in splits if rows % (len(devices) // tensor) == 0]
  if not splits:
    raise InputError(f"mesh.fsdp {mesh.fsdp} and mesh.tensor {mesh.tensor} cannot be laid on this slice: try others.")
  if not fitting:
    raise InputError(
      f"train.batch_size {rows} cannot be split over {len(devices)} chips: make it a multiple of "
      f"{len(devices) // splits[-1][1]}, or set mesh.tensor."
    )
  return fitting


def _can_be_laid(devices: list, fsdp: int, tensor: int) -> bool:
  """Whether JAX finds the axes of the mesh in the torus; it does not cut one of the torus's in two."""
  try:
    make_mesh(dict(data=-1, fsdp=fsdp, tensor=tensor), devices)
  except NotImplementedError:
    return False
  return True


def _fewest_microbatches(config, devices: list, chip: Machine, fsdp: int, tensor: int, remat: str) -> Outcome:
  """The first count that fits, from the config's on; what is missing tells how many to try next."""
  data = len(devices) // (fsdp * tensor)
  rows = config.train.batch_size // (data * fsdp)
  counts = [count for count in range(config.train.microbatches, rows + 1) if rows % count == 0]
  count = counts[0]
  if isinstance(chip, Card):
    count = next((n for n in counts if rows // n * config.data.max_length <= _GPU_TOKENS), counts[-1])
  while True:
    outcome = compile_step(config, devices, chip.memory, Choice(data, fsdp, tensor, count, remat), QUICK)
    larger = [other for other in counts if other > count]
    if isinstance(outcome, Compiled) or not larger:
      return outcome
    enough = math.ceil(count * outcome.needed / outcome.available)
    count = next((other for other in larger if other >= enough), larger[-1])


def _fastest(tried: list[Outcome], chip: Machine, chips: int) -> Compiled | None:
  fitting = [outcome for outcome in tried if isinstance(outcome, Compiled)]
  return min(fitting, key=lambda outcome: step_seconds(outcome, chip, chips), default=None)
