"""Writes a plan for people, and for programs."""

import json
from collections import defaultdict

from albert_jax.tools.planning import estimate
from albert_jax.tools.planning.cards import Card
from albert_jax.tools.planning.compiled import Compiled
from albert_jax.tools.planning.kernels import Kernel
from albert_jax.tools.planning.machines import Machine
from albert_jax.tools.planning.search import Plan, describe

MIB = 2**20
_DEAREST = 12  # kernels that are listed


def report(plan: Plan, topology: str, machine: Machine, chips: int) -> str:
  """Lines to read; the last is a JSON object, with bytes and FLOPs of one chip and one step."""
  facts = {"topology": topology, "chips": chips, "fits": plan.best is not None, **_facts(plan.best, machine, chips)}
  facts["tried"] = [describe(outcome, machine, chips) for outcome in plan.tried]
  if plan.best is None:
    return f"Nothing that was tried fits on {topology}.\n{json.dumps(facts, ensure_ascii=False)}"
  best, is_gpu = plan.best, isinstance(machine, Card)
  lines = [
    f"{topology}: {chips} × {machine.memory / 2**30:.2f} GiB, {machine.peak / 1e12:.0f} TFLOP/s",
    f"best: {best.choice} (mesh is data × fsdp × tensor)",
    "memory of a chip, MiB",
    *(f"  {kind:<28}{size / MIB:>12,.1f}" for kind, size in best.memory.items()),
    f"  {'total':<28}{facts['memory_bytes'] / MIB:>12,.1f}",
    f"FLOPs of a step and chip    {best.flops:.4g}, of which the model's are {best.model_flops:.4g}",
    "collectives, MiB that a chip sends in a step",
    *(f"  {kind:<28}{size / MIB:>12,.1f}" for kind, size in best.sent.items()),
    *(_gpu_lines(best, machine, facts) if is_gpu else _tpu_lines(facts)),
    f"assumed: {estimate.GPU_ASSUMPTIONS if is_gpu else estimate.TPU_ASSUMPTIONS}",
    json.dumps(facts, ensure_ascii=False),
  ]
  return "\n".join(lines)


def _tpu_lines(facts: dict) -> list[str]:
  return [
    f"step                        {facts['step_seconds']:.4g} s, MFU {facts['mfu']:.1%}, "
    f"of which transfers {facts['transfer_seconds']:.4g} s",
    f"by the compiler's cycles    {facts['compiler_step_seconds']:.4g} s, MFU {facts['compiler_mfu']:.1%}",
  ]


def _gpu_lines(best: Compiled, card: Card, facts: dict) -> list[str]:
  launches, moved = defaultdict(int), defaultdict(float)
  for kernel in best.kernels:
    launches[kernel.group] += kernel.times
    moved[kernel.group] += kernel.bytes * kernel.times
  return [
    f"{'roofline by group':<28}{'ms':>10}{'GB':>10}{'kernels':>10}",
    *(
      f"  {group:<26}{seconds * 1e3:>10.2f}{moved[group] / 1e9:>10.1f}{launches[group]:>10,}"
      for group, seconds in facts["seconds_by_group"].items()
    ),
    f"{'the dearest of the others':<28}{'ms':>10}{'MB each':>10}{'kernels':>10}  line",
    *(
      f"  {row['group']:<26}{row['seconds'] * 1e3:>10.2f}{row['bytes'] / 1e6:>10,.0f}{row['times']:>10,}"
      f"  {row['source']}"
      for row in facts["dearest"]
    ),
    f"floor under the step        {facts['floor_seconds'] * 1e3:.1f} ms, MFU at most {facts['mfu_at_most']:.1%}; "
    f"no product and no attention {facts['other_seconds'] * 1e3:.1f} ms, "
    f"{facts['other_bytes_per_token'] / 1e3:,.0f} kB a token; transfers {facts['transfer_seconds'] * 1e3:.1f} ms",
  ]


def _facts(best: Compiled | None, machine: Machine, chips: int) -> dict:
  if best is None:
    return {}
  floor, memory = estimate.floor_seconds(best, machine, chips), sum(best.memory.values())
  facts = {
    "mesh": {"data": best.choice.data, "fsdp": best.choice.fsdp, "tensor": best.choice.tensor},
    "microbatches": best.choice.microbatches,
    "remat": best.choice.remat,
    "memory_bytes": memory,
    "bytes_by_kind": best.memory,
    "flops": best.flops,
    "model_flops": best.model_flops,
    "collective_bytes": best.sent,
    "transfer_seconds": estimate.transfer_seconds(best, machine, chips),
    "floor_seconds": floor,
    "mfu_at_most": estimate.mfu(best, machine, floor),
    "other_seconds": estimate.other_seconds(best, machine),
  }
  if isinstance(machine, Card):
    return facts | {
      "tokens": best.tokens,
      "other_bytes_per_token": estimate.other_bytes_per_token(best),
      "seconds_by_group": estimate.seconds_by_group(best, machine),
      "dearest": _dearest(best.kernels, machine),
    }
  seconds, by_compiler = estimate.step_seconds(best, machine, chips), estimate.compiler_seconds(best, machine, chips)
  return facts | {
    "bytes": memory,
    "step_seconds": seconds,
    "mfu": estimate.mfu(best, machine, seconds),
    "compiler_step_seconds": by_compiler,
    "compiler_mfu": estimate.mfu(best, machine, by_compiler),
  }


def _dearest(kernels: list[Kernel], card: Card) -> list[dict]:
  """The kernels beside products and attention; those of one line with the same traffic are one row."""
  rows: dict[tuple, dict] = {}
  for kernel in kernels:
    if kernel.group not in (estimate.PRODUCTS, estimate.ATTENTION):
      key = kernel.group, kernel.source, kernel.bytes
      row = rows.setdefault(key, dict(group=key[0], source=key[1], bytes=key[2], times=0, seconds=0.0))
      row["times"] += kernel.times
      row["seconds"] += estimate.kernel_seconds(kernel, card)
  return sorted(rows.values(), key=lambda row: -row["seconds"])[:_DEAREST]
