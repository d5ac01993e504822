"""Describes what a config would do, without allocating anything."""

import json
import math

import jax

from albert_jax.models.param import count, path_name
from albert_jax.training.program import Program


def dry_run(program: Program) -> str:
  """Describes parameters, FLOPs, mesh and memory; the last line is a JSON object.

  `bytes_per_device` is what stays on each device all through training: parameters, optimizer and gradients. Activations
  come on top.
  """
  state, _ = program.state, program.train_step  # the latter checks the batch size
  by_part = params_by_part(state.params)
  by_kind = {
    "params": device_bytes(state.params),
    "optimizer": device_bytes(state.opt),
    "gradients": device_bytes(state.params),
  }
  mesh = dict(program.mesh.shape)
  record = {
    "params": count(state.params),
    "params_by_part": by_part,
    "flops_per_token": program.task.flops_per_token(),
    "mesh": mesh,
    "bytes_per_device": sum(by_kind.values()),
    "bytes_per_device_by_kind": by_kind,
  }
  lines = [
    "parameters",
    *(f"  {part:<24}{count:>15,}" for part, count in by_part.items()),
    f"  {'total':<24}{record['params']:>15,}",
    f"training FLOPs per token  {record['flops_per_token']:.4g}",
    f"mesh                      {' × '.join(f'{axis} {size}' for axis, size in mesh.items())}",
    "bytes per device",
    *(f"  {kind:<24}{size:>15,}" for kind, size in by_kind.items()),
    f"  {'total':<24}{record['bytes_per_device']:>15,}",
    json.dumps(record),
  ]
  return "\n".join(lines)


def params_by_part(params) -> dict[str, int]:
  """Parameters of each part: `encoder/attn`, `encoder/ffn`, `mlm`, …"""
  parts: dict[str, int] = {}
  for path, leaf in jax.tree_util.tree_leaves_with_path(params):
    names = path_name(path).split("/")
    part = "/".join(names[: 2 if names[0] == "encoder" else 1])
    parts[part] = parts.get(part, 0) + leaf.size
  return parts


def device_bytes(tree) -> int:
  """Bytes of the largest share of a tree that any device holds."""
  return sum(leaf.dtype.itemsize * math.prod(leaf.sharding.shard_shape(leaf.shape)) for leaf in jax.tree.leaves(tree))
