"""This project as a contender: batches and weights for all, gradient for the gates, timed steps."""

import time
from collections import deque
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from albert_jax.data.loader import Batch
from albert_jax.errors import InputError
from albert_jax.runtime.memory import reuse_memory
from albert_jax.tasks import make_task
from albert_jax.tasks.pretrain import PretrainTask
from albert_jax.tools.benchmarking import batches, files, scaling, timing, weights
from albert_jax.tools.benchmarking.job import Job
from albert_jax.tools.benchmarking.parts import time_parts
from albert_jax.training.log.metrics import peak_flops
from albert_jax.training.log.step_log import has_ended
from albert_jax.training.program import Program, make_program
from albert_jax.training.sharding import to_devices
from albert_jax.training.step import make_gradient

_MOST_BATCHES = 16  # that are different


def prepare(job: Job) -> dict[str, Any]:
  """Makes batches, weights and the peers' versions of both; tells sizes, and what a batch costs the host."""
  config, task = job.config, make_task(job.config)
  program = make_program(config, task)
  rows = batches.make_rows(task, job.lengths, config.seed)
  count, size = min(job.steps + job.warmup, _MOST_BATCHES), config.train.batch_size
  made = batches.make_batches(rows, count, size)
  files.save_batches(job.path / files.BATCHES, made)
  start = time.process_time()
  batches.make_batches(rows, count, size)
  facts = {
    "input_seconds": (time.process_time() - start) / count,
    "rows": size,
    "length": made[0]["tokens"].shape[-1],
    "fill": sum(map(files.tokens_of, made)) / (count * made[0]["tokens"].size),
    "params": sum(leaf.size for leaf in jax.tree.leaves(program.state.params)),
    "flops_per_token": task.flops_per_token(),
    "dtype": jnp.dtype(task.encoder.dtype).name,
    "optimizer": config.optimizer.name,
    "mesh": dict(program.mesh.shape),
  }
  if isinstance(task, PretrainTask):
    theirs, first = batches.for_peers(made, task.batch.example_predictions)
    files.save_batches(job.path / files.PEER_BATCHES, theirs)
    files.save_batches(job.path / files.GATE_BATCH, [first])
    facts["peer_rows"] = len(theirs[0]["tokens"])
    facts["peer_fill"] = sum(map(files.tokens_of, theirs)) / (len(theirs) * theirs[0]["tokens"].size)
  return facts


def export(job: Job) -> dict[str, Any]:
  """Writes the parameters of step 0 for the peers, and our gradient on the first batch."""
  config = job.config.copy_and_resolve_references()
  config.model.update(dtype="float32", dropout=0.0, attention_dropout=0.0)
  task = make_task(config)
  if not isinstance(task, PretrainTask):
    raise InputError(f"There are peers for pretraining only, not for {config.task}: give no --peers.")
  weights.layout(task.encoder)
  program = make_program(config, task)
  state = program.init(config.seed)
  weights.save_model(job.path, state.params, task.encoder, job.config.model)
  first = files.load_batches(job.path / files.BATCHES)[0]
  gradient = program.placed(make_gradient(task, microbatches=1))
  with jax.default_matmul_precision("highest"):
    gradient, _, loss = jax.jit(gradient)(state, _placed(program, first), program.hyper)
  files.save_gradient(job.gradient_file, loss, weights.their_tensors(gradient, task.encoder))
  return {}


def measure(job: Job) -> dict[str, Any]:
  """Compiles and times the train step as the training loop runs it."""
  reuse_memory()
  program = make_program(job.config, make_task(job.config))
  made = files.load_batches(job.path / files.BATCHES)
  state = program.init(job.config.seed)
  start = time.perf_counter()
  compiled = program.train_step.lower(program.state, _placed(program, made[0]), program.hyper).compile()
  found: dict[str, Any] = {"compile_seconds": time.perf_counter() - start}
  found |= _time_steps(job, program, compiled, state, made)
  device = program.mesh.devices.flat[0]
  peak = peak_flops(device) if program.task.encoder.dtype == jnp.bfloat16 else None
  return found | {
    "tokens": files.timed_tokens(made, job.warmup, job.steps),
    "positions": made[0]["tokens"].size,
    "peak_flops": peak and peak * program.mesh.size,
    "gemm_flops": timing.gemm_ceiling(_gemm(program.task.encoder.dtype), device.platform) * _factor(program),
    "memory": _memory(device, compiled),
    "device": device.device_kind,
    "versions": {"jax": jax.__version__},
  }


def parts(job: Job) -> dict[str, Any]:
  """Where the time of a step goes."""
  reuse_memory()
  program = make_program(job.config, make_task(job.config))
  batch = _placed(program, files.load_batches(job.path / files.BATCHES)[0])
  return time_parts(program, batch, runs=job.steps)


ACTIONS = {"prepare": prepare, "gate": export, "time": measure, "parts": parts, "scale": scaling.measure}


def _time_steps(job: Job, program: Program, compiled, state, made: list[Batch]) -> dict[str, Any]:
  """`seconds` of each step, `processor_seconds` of all, and `first_step_seconds`, from the start of the process.

  As in the training loop the host is a step ahead, where steps do not run within their dispatch: a step's time is that
  between its end and the end of the one before.
  """
  running, marks = deque(), [_mark()]

  def wait() -> None:
    jax.block_until_ready(running.popleft())
    marks.append(_mark())

  for number in range(job.warmup + job.steps):
    state, terms = compiled(state, _placed(program, made[number % len(made)]), program.hyper)
    running.append(terms)
    while len(running) > 1 or (running and has_ended(running[0])):
      wait()
  while running:
    wait()
  clock, processor = np.transpose(marks)
  return {
    "seconds": np.diff(clock)[job.warmup :].tolist(),
    "processor_seconds": processor[-1] - processor[job.warmup],
    "first_step_seconds": clock[1] - job.started,
  }


def _mark() -> tuple[float, float]:
  """Seconds by the clock that `Job.started` is of, and of the processor."""
  return time.time(), time.process_time()


def _placed(program: Program, batch: Batch) -> dict[str, jax.Array]:
  return to_devices(batch, program.batch_sharding, len(batch["tokens"]))


def _gemm(dtype: jnp.dtype):
  """For `timing.gemm_ceiling`."""

  def make(size: int):
    a, b = (jax.random.normal(key, (size, size), dtype) for key in jax.random.split(jax.random.key(0)))
    product = jax.jit(jnp.matmul)
    return lambda: jax.block_until_ready(product(a, b))

  return make


def _factor(program: Program) -> int:
  """Devices that the ceiling of one stands for: fake devices share the cores that one of them fills."""
  return 1 if program.mesh.devices.flat[0].platform == "cpu" else program.mesh.size


def _memory(device: jax.Device, compiled) -> dict[str, int]:
  """Bytes of one device: the most in use, where it tells; and what the compiler has planned, and the process's own."""
  analysis = compiled.memory_analysis()
  memory = {
    "planned": analysis.argument_size_in_bytes
    + analysis.output_size_in_bytes
    + analysis.temp_size_in_bytes
    - analysis.alias_size_in_bytes,
    "temporary": analysis.temp_size_in_bytes,
    "resident": timing.peak_resident_bytes(),
  }
  statistics = device.memory_stats()
  return memory | ({"device": statistics["peak_bytes_in_use"]} if statistics else {})
