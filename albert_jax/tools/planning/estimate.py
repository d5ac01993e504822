"""How long a compiled step would take: an estimate, since no TPU runs it, by `ASSUMPTIONS`."""

from albert_jax.tools.planning.chips import Chip
from albert_jax.tools.planning.compiled import Compiled

EFFICIENCY = 0.6  # of the peak, in matrix products
ASSUMPTIONS = (
  f"matrix products at {EFFICIENCY:.0%} of the bf16 peak; transfers at the full rate of the links, two on each axis of "
  "the torus, over all axes where all chips take part and over one elsewhere; transfers and products do not overlap; "
  "the host keeps up"
)


def transfer_seconds(compiled: Compiled, chip: Chip, chips: int) -> float:
  """The collectives of a step."""
  return sum(collective.sent / chip.ici_rate(collective.group, chips) for collective in compiled.collectives)


def step_seconds(compiled: Compiled, chip: Chip, chips: int) -> float:
  """A step by `ASSUMPTIONS`."""
  return compiled.flops / (chip.peak * EFFICIENCY) + transfer_seconds(compiled, chip, chips)


def compiler_seconds(compiled: Compiled, chip: Chip, chips: int) -> float:
  """A step with the compiler's estimate of cycles, which knows memory and vector units, for `EFFICIENCY`."""
  return compiled.cycles / chip.clock + transfer_seconds(compiled, chip, chips)


def mfu(compiled: Compiled, chip: Chip, seconds: float) -> float:
  """Model FLOPs utilisation of a step that takes so long (arXiv 2204.02311, appendix B)."""
  return compiled.model_flops / (chip.peak * seconds)
