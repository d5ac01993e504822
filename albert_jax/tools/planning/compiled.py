"""Compiles the train step of a config for devices that are not here, and takes from it what a plan needs."""

import dataclasses
import re
from collections import Counter

import jax
import ml_collections

from albert_jax.commands.dry_run import device_bytes
from albert_jax.tasks import make_task
from albert_jax.tools.planning import hlo
from albert_jax.tools.planning.flops import matmul_flops
from albert_jax.tools.planning.kernels import Kernel, kernels
from albert_jax.training.program import make_program

# XLA's `optimization_level`: 9 is -O0, 0 the compiler's default. JAX 0.10 to 0.12 all take it; the option that it
# replaces, `exec_time_optimization_effort`, is gone in 0.11.2.
QUICK = 9
FULL = 0
# Without a card nothing is autotuned, and XLA would take its own kernels for matrix products where a card chooses
# NVIDIA's. These also compile in half the time.
GPU_OPTIONS = {"xla_gpu_enable_triton_gemm": False}
_UNITS = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


@dataclasses.dataclass(frozen=True)
class Choice:
  """Choices about a run that do not change what it computes."""

  data: int
  fsdp: int
  tensor: int
  microbatches: int
  remat: str

  def __str__(self) -> str:
    return f"{self.data}×{self.fsdp}×{self.tensor}, {self.microbatches} microbatches, remat {self.remat}"


@dataclasses.dataclass(frozen=True)
class Compiled:
  """A train step as the chips (TPUs or GPUs) would run it; everything is for one chip and one step.

  Attributes:
    choice: what it was compiled for.
    effort: the compiler's.
    memory: bytes by kind.
    model_flops: of the formula that MFU is measured against.
    flops: of all matrix products, what is computed again included.
    cycles: the compiler's own estimate for everything but transfers.
    collectives: the transfers.
    input_bytes: that the host gives.
    state_bytes: of the whole train state, which is what a checkpoint holds, however many chips there are.
    tokens: positions of the rows that a chip works on.
    kernels: of GPUs.
  """

  choice: Choice
  effort: int
  memory: dict[str, int]
  model_flops: float
  flops: float
  cycles: int
  collectives: list[hlo.Collective]
  input_bytes: int
  state_bytes: int
  tokens: int = 0
  kernels: list[Kernel] = dataclasses.field(default_factory=list)

  @property
  def sent(self) -> dict[str, float]:
    """Bytes sent by kind of collective."""
    total = Counter()
    for collective in self.collectives:
      total[collective.kind] += collective.sent
    return dict(total)


@dataclasses.dataclass(frozen=True)
class TooLarge:
  """A train step that needs more memory than a chip has: the bytes that the compiler reports."""

  choice: Choice
  needed: float
  available: float


def compile_step(
  config: ml_collections.ConfigDict, devices: list, memory: float, choice: Choice, effort: int
) -> Compiled | TooLarge:
  """Compiles the train step.

  It is too large where its arguments and all that the compiler sets aside exceed the memory. The compiler itself lets
  somewhat larger ones pass, since not all of that is in use at the same time.

  Args:
    config: a record from `configs/`; mesh, microbatches and remat are those of the choice.
    devices: from `open_devices`.
    memory: bytes of a chip.
    choice: see there.
    effort: `QUICK` or `FULL`; the compiler for GPUs knows no other than full.

  Raises:
    InputError: the config does not fit the mesh.
  """
  config = _chosen(config, choice)
  task = make_task(config)
  program = make_program(config, task, devices)
  specs = task.batch_specs(config.train.batch_size)
  hyper = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), program.hyper)
  traced, is_gpu = program.train_step.trace(program.state, specs, hyper), devices[0].platform == "gpu"
  try:
    executable = traced.lower().compile(GPU_OPTIONS if is_gpu else {"optimization_level": effort})
  except RuntimeError as error:
    if "RESOURCE_EXHAUSTED" not in str(error):
      raise
    return TooLarge(choice, *_memory_error(str(error)))
  by_kind = _memory(program, executable.memory_analysis())
  if (needed := sum(by_kind.values())) > memory:
    return TooLarge(choice, needed, memory)
  text = executable.as_text()
  found = kernels(text) if is_gpu else []  # fused attention, a library's, is in them but not in what was traced
  flops = sum(k.flops * k.times for k in found) if is_gpu else matmul_flops(traced.jaxpr.jaxpr) / len(devices)
  return Compiled(
    choice=choice,
    effort=effort,
    memory=by_kind,
    model_flops=task.flops_per_token() * specs["tokens"].size / len(devices),
    flops=flops,
    cycles=sum(operation.cycles * operation.times for operation in hlo.operations(text)),
    collectives=hlo.collectives(text, len(devices)),
    input_bytes=sum(spec.size * spec.dtype.itemsize for spec in specs.values()) // (choice.data * choice.fsdp),
    state_bytes=sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(program.state)),
    tokens=specs["tokens"].size // (choice.data * choice.fsdp),
    kernels=found,
  )


def _chosen(config: ml_collections.ConfigDict, choice: Choice) -> ml_collections.ConfigDict:
  """The config with the choice in it, and the dtype that "auto" means on accelerators."""
  config = config.copy_and_resolve_references()
  config.mesh.update(data=choice.data, fsdp=choice.fsdp, tensor=choice.tensor)
  config.train.microbatches = choice.microbatches
  config.model.remat = choice.remat
  if config.model.dtype == "auto":
    config.model.dtype = "bfloat16"
  return config


def _memory(program, analysis) -> dict[str, int]:
  """Bytes by kind. Layouts on the chip are padded: what that costs is counted with the batch."""
  params, optimizer = device_bytes(program.state.params), device_bytes(program.state.opt)
  return {
    "parameters": params,
    "optimizer": optimizer,
    "batch and padding": analysis.argument_size_in_bytes - params - optimizer,
    "activations and gradients": analysis.temp_size_in_bytes
    + analysis.output_size_in_bytes
    - analysis.alias_size_in_bytes,
    "program": analysis.generated_code_size_in_bytes,
  }


def _memory_error(message: str) -> tuple[float, float]:
  """Bytes needed and bytes there are, from the compiler's complaint."""
  sizes = re.findall(r"([\d.]+)([KMGT])", message.partition("memory")[2])
  needed, available = (float(number) * _UNITS[unit] for number, unit in sizes[:2])
  return needed, available
