"""Writes a plan for people, and for programs."""

import json

from albert_jax.tools.planning import estimate
from albert_jax.tools.planning.chips import Chip
from albert_jax.tools.planning.search import Plan, describe

MIB = 2**20


def report(plan: Plan, topology: str, chip: Chip, chips: int) -> str:
  """Lines to read; the last is a JSON object, with bytes and FLOPs of one chip and one step."""
  facts = {"topology": topology, "chips": chips, "fits": plan.best is not None, **_best(plan, chip, chips)}
  facts["tried"] = [describe(outcome, chip, chips) for outcome in plan.tried]
  if plan.best is None:
    return f"Nothing that was tried fits on {topology}.\n{json.dumps(facts, ensure_ascii=False)}"
  lines = [
    f"{topology}: {chips} chips; a chip has {chip.memory / 2**30:.2f} GiB and does {chip.peak / 1e12:.0f} TFLOP/s",
    f"best: {plan.best.choice} (mesh is data × fsdp × tensor)",
    "memory of a chip, MiB",
    *(f"  {kind:<28}{size / MIB:>12,.1f}" for kind, size in plan.best.memory.items()),
    f"  {'total':<28}{facts['bytes'] / MIB:>12,.1f}",
    f"FLOPs of a step and chip    {plan.best.flops:.4g}, of which the model's are {plan.best.model_flops:.4g}",
    "collectives, MiB that a chip sends in a step",
    *(f"  {kind:<28}{size / MIB:>12,.1f}" for kind, size in plan.best.sent.items()),
    f"step                        {facts['step_seconds']:.4g} s, MFU {facts['mfu']:.1%}, "
    f"of which transfers {facts['transfer_seconds']:.4g} s",
    f"by the compiler's cycles    {facts['compiler_step_seconds']:.4g} s, MFU {facts['compiler_mfu']:.1%}",
    f"assumed: {estimate.ASSUMPTIONS}",
    json.dumps(facts, ensure_ascii=False),
  ]
  return "\n".join(lines)


def _best(plan: Plan, chip: Chip, chips: int) -> dict:
  best = plan.best
  if best is None:
    return {}
  seconds, by_compiler = estimate.step_seconds(best, chip, chips), estimate.compiler_seconds(best, chip, chips)
  return {
    "mesh": {"data": best.choice.data, "fsdp": best.choice.fsdp, "tensor": best.choice.tensor},
    "microbatches": best.choice.microbatches,
    "remat": best.choice.remat,
    "bytes": sum(best.memory.values()),
    "bytes_by_kind": best.memory,
    "flops": best.flops,
    "model_flops": best.model_flops,
    "collective_bytes": best.sent,
    "transfer_seconds": estimate.transfer_seconds(best, chip, chips),
    "step_seconds": seconds,
    "mfu": estimate.mfu(best, chip, seconds),
    "compiler_step_seconds": by_compiler,
    "compiler_mfu": estimate.mfu(best, chip, by_compiler),
  }
