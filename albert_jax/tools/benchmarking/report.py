"""The result of a benchmark, for people."""

import os
import platform
from pathlib import Path
from typing import Any

from albert_jax.tools.benchmarking.job import OURS

Found = dict[str, Any]
MIB = 2**20


def machine() -> dict[str, Any]:
  """The machine."""
  names = []
  if (info := Path("/proc/cpuinfo")).exists():
    names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
  return {
    "processor": names[0] if names else platform.processor(),
    "cores": os.cpu_count(),
    "system": platform.platform(),
    "python": platform.python_version(),
  }


def report(found: Found) -> str:
  """Tables in Markdown."""
  facts, contenders = found["facts"], found["contenders"]
  lines = [
    f"{found['name']}: {facts['params']:,} parameters, rows of {facts['length']}, {facts['rows']} a batch, "
    f"{facts['fill']:.1%} full, {facts['dtype']}, {facts['optimizer']}, mesh {_mesh(facts['mesh'])}",
    f"on {contenders[OURS]['device']} ({found['machine']['processor']}, {found['machine']['cores']} cores), "
    f"{contenders[OURS]['threads']} threads; {_versions(contenders)}",
    "",
    *_speeds(contenders),
    "",
    *_starts(contenders),
    "",
    *_gates(found),
    *_parts(found["parts"], facts),
  ]
  return "\n".join(lines)


def _speeds(contenders: Found) -> list[str]:
  lines = [
    "| | tokens/s | positions/s | step p50, ms | p95 | processor, ms | MFU | of own GEMM ceiling | ceiling, GFLOP/s |",
    "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
  ]
  for name, of in contenders.items():
    mfu = "–" if of["mfu"] is None else f"{of['mfu']:.1%}"
    p50, p95 = (f"{1e3 * of[f'step_{name}_seconds']:,.1f}" for name in ("p50", "p95"))
    lines.append(
      f"| {name} | {of['tokens_per_second']:,.0f} | {of['positions_per_second']:,.0f} | "
      f"{p50} | {p95} | {1e3 * of['processor_seconds_per_step']:,.1f} | {mfu} | {of['gemm_fraction']:.1%} | "
      f"{of['gemm_flops_per_second'] / 1e9:,.0f} |"
    )
  return lines


def _starts(contenders: Found) -> list[str]:
  lines = [
    "| | compile, cold, s | warm | first step, cold, s | warm | memory, MiB |",
    "|---|---:|---:|---:|---:|---|",
  ]
  for name, of in contenders.items():
    keys = ("compile_seconds_cold", "compile_seconds_warm", "first_step_seconds_cold", "first_step_seconds_warm")
    seconds = " | ".join("–" if of.get(key) is None else f"{of[key]:.1f}" for key in keys)
    memory = ", ".join(f"{kind} {size / MIB:,.0f}" for kind, size in of["memory"].items())
    lines.append(f"| {name} | {seconds} | {memory} |")
  return lines


def _gates(found: Found) -> list[str]:
  if not found["gates"]:
    return []
  lines = ["| peer | loss within | gradient cosine | ours ÷ peer, lowest | median |", "|---|---:|---:|---:|---:|"]
  for name, gate in found["gates"].items():
    ratio = found["ratios"][name]
    lines.append(
      f"| {name} | {gate['loss_difference']:.1e} | {gate['gradient_cosine']:.7f} | {ratio['lowest']:.2f} | "
      f"{ratio['median']:.2f} |"
    )
  return [*lines, ""]


def _parts(parts: Found, facts: Found) -> list[str]:
  names = {
    "encoder_forward": "encoder, forward",
    "encoder_backward": "encoder, backward",
    "heads": "heads and losses, both ways",
    "optimizer": "clip, optimizer, guard",
    "step": "step",
  }
  lines = ["| part of our step | ms | share |", "|---|---:|---:|"]
  lines += [f"| {text} | {1e3 * parts[key]:,.1f} | {parts[key] / parts['step']:.1%} |" for key, text in names.items()]
  seconds = facts["input_seconds"]
  lines.append(f"| input, one core, beside it | {1e3 * seconds:,.1f} | {seconds / parts['step']:.1%} |")
  return [
    *lines,
    "",
    f"forward {1e3 * parts['forward']:,.1f} ms, backward {1e3 * parts['backward']:,.1f} ms",
    parts["how"],
  ]


def _mesh(mesh: Found) -> str:
  return "×".join(str(size) for size in mesh.values())


def _versions(contenders: Found) -> str:
  versions = {name: version for of in contenders.values() for name, version in of["versions"].items()}
  return ", ".join(f"{name} {version}" for name, version in versions.items())
