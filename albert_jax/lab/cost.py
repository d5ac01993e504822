"""The cost of an arm, from its config alone: parameters, FLOPs, memory, and how often each weight is read."""

import dataclasses
from collections import Counter

import jax
import ml_collections

from albert_jax.commands.dry_run import device_bytes, params_by_part
from albert_jax.models.param import path_name
from albert_jax.models.sharing import num_groups
from albert_jax.tasks import make_task, resolve
from albert_jax.training.program import Program, make_program


@dataclasses.dataclass(frozen=True)
class Cost:
  """Costs of an arm.

  Attributes:
    body: parameters of the layers, with what each depth has for itself.
    total: all parameters.
    by_part: parameters by part of the model.
    readers: parameters of the attention ("attn"), the feed-forward part ("ffn") and the additions by depth ("depth"),
      by the number of layers that read them.
    flops_per_token: of training, per position.
    steps: of a run.
    tokens: positions of a run, padding included.
    bytes_per_device: parameters, optimizer and gradients.
  """

  body: int
  total: int
  by_part: dict[str, int]
  readers: dict[str, dict[int, int]]
  flops_per_token: float
  steps: int
  tokens: int
  bytes_per_device: int

  @property
  def flops(self) -> float:
    """Of a whole run."""
    return self.flops_per_token * self.tokens


def open_program(config: ml_collections.ConfigDict) -> Program:
  """The program of a run of a lab.

  Raises:
    InputError: the config does not fit together.
  """
  return make_program(config, make_task(config))


def cost(config: ml_collections.ConfigDict) -> Cost:
  """Costs of a run; allocates nothing.

  Raises:
    InputError: the config does not fit together.
  """
  config = config.copy_and_resolve_references()
  if not config.init_from:  # of a start, only the parameters are taken
    resolve(config, None)
  program = open_program(config)
  state, parts = program.state, params_by_part(program.state.params)
  positions = config.train.batch_size * program.task.batch_specs(1)["tokens"].shape[-1]
  return Cost(
    body=body(parts),
    total=sum(parts.values()),
    by_part=parts,
    readers=readers(program),
    flops_per_token=program.task.flops_per_token(),
    steps=program.steps,
    tokens=program.steps * positions,
    bytes_per_device=2 * device_bytes(state.params) + device_bytes(state.opt),
  )


def body(parts: dict[str, int]) -> int:
  """Parameters of the layers: what sharing changes."""
  return sum(parts.get(f"encoder/{part}", 0) for part in ("attn", "ffn", "depth"))


def readers(program: Program) -> dict[str, dict[int, int]]:
  """Parameters of each part of the layers by the number of layers that read them."""
  found = {part: Counter() for part in ("attn", "ffn", "depth")}
  tables = program.task.encoder.tables
  for path, leaf in jax.tree_util.tree_leaves_with_path(program.state.params):
    name = path_name(path)
    if name.startswith("encoder/depth/"):
      found["depth"][1] += leaf.size
    elif (inner := name.removeprefix("encoder/")) in tables:
      table = tables[inner]
      for count in Counter(table).values():
        found[inner.split("/")[0]][count] += leaf.size // num_groups(table)
  return {part: dict(sorted(counts.items())) for part, counts in found.items()}
