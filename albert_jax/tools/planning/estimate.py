"""How long a compiled step would take at least: an estimate, since no device runs it.

For GPUs a roofline over the kernels; for TPUs matrix products and transfers, by `TPU_ASSUMPTIONS`.
"""

from collections import Counter

from albert_jax.tools.planning.cards import Card
from albert_jax.tools.planning.compiled import Compiled
from albert_jax.tools.planning.kernels import ATTENTION, PRODUCTS, Kernel
from albert_jax.tools.planning.machines import Machine

EFFICIENCY = 0.6  # of a TPU's peak, in matrix products
TPU_ASSUMPTIONS = (
  f"matrix products at {EFFICIENCY:.0%} of the bf16 peak; transfers at the full rate of the links, two on each axis of "
  "the torus, over all axes where all chips take part and over one elsewhere; transfers and products do not overlap; "
  "the host keeps up"
)
# What large products and long copies reach on an H100: 800 of 989 TFLOP/s, 3.0 of 3.35 TB/s.
GPU_PRODUCTS, GPU_BANDWIDTH = 0.81, 0.895
GPU_ASSUMPTIONS = (
  f"every kernel takes the longer of its FLOPs at {GPU_PRODUCTS:.0%} of the bf16 peak and its bytes at "
  f"{GPU_BANDWIDTH:.1%} of the memory's bandwidth; transfers at the full rate of NVLink and wholly behind the "
  "kernels. A plan knows nothing of autotuning (a card may choose other kernels for products), of the gaps between "
  "kernels, of clocks that fall under load, of a cache that saves traffic, or of a host that does not keep up"
)


def transfer_seconds(compiled: Compiled, machine: Machine, chips: int) -> float:
  """The collectives of a step."""
  return sum(collective.sent / machine.transfer_rate(collective.group, chips) for collective in compiled.collectives)


def kernel_seconds(kernel: Kernel, card: Card) -> float:
  """All launches of a kernel in a step, by the roofline."""
  products, memory = card.peak * GPU_PRODUCTS, card.bandwidth * GPU_BANDWIDTH
  return max(kernel.flops / products, kernel.bytes / memory) * kernel.times


def seconds_by_group(compiled: Compiled, card: Card) -> dict[str, float]:
  """The kernels' seconds by group, the dearest first."""
  total = Counter()
  for kernel in compiled.kernels:
    total[kernel.group] += kernel_seconds(kernel, card)
  return dict(total.most_common())


def floor_seconds(compiled: Compiled, machine: Machine, chips: int) -> float:
  """A floor under the time of a step: the kernels (on TPUs the products at the peak), or the transfers."""
  if isinstance(machine, Card):
    work = sum(seconds_by_group(compiled, machine).values())
  else:
    work = compiled.flops / machine.peak
  return max(work, transfer_seconds(compiled, machine, chips))


def other_seconds(compiled: Compiled, machine: Machine) -> float:
  """All that is neither a matrix product nor fused attention; on TPUs by the compiler's cycles."""
  if isinstance(machine, Card):
    groups = seconds_by_group(compiled, machine)
    return sum(seconds for group, seconds in groups.items() if group not in (PRODUCTS, ATTENTION))
  return max(0.0, compiled.cycles / machine.clock - compiled.flops / machine.peak)


def other_bytes_per_token(compiled: Compiled) -> float:
  """Memory traffic of a GPU's kernels that are neither matrix products nor fused attention."""
  moved = sum(k.bytes * k.times for k in compiled.kernels if k.group not in (PRODUCTS, ATTENTION))
  return moved / max(1, compiled.tokens)


def step_seconds(compiled: Compiled, machine: Machine, chips: int) -> float:
  """A step, to compare choices by: on GPUs the floor, on TPUs by `TPU_ASSUMPTIONS`."""
  if isinstance(machine, Card):
    return floor_seconds(compiled, machine, chips)
  return compiled.flops / (machine.peak * EFFICIENCY) + transfer_seconds(compiled, machine, chips)


def compiler_seconds(compiled: Compiled, machine: Machine, chips: int) -> float:
  """A step of TPUs with the compiler's estimate of cycles, which knows memory and vector units, for `EFFICIENCY`."""
  return compiled.cycles / machine.clock + transfer_seconds(compiled, machine, chips)


def mfu(compiled: Compiled, machine: Machine, seconds: float) -> float:
  """Model FLOPs utilisation of a step that takes so long (arXiv 2204.02311, appendix B)."""
  return compiled.model_flops / (machine.peak * seconds)
