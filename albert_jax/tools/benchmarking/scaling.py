"""The cost of input, step and checkpoint as the mesh grows, and the memory of microbatches.

The devices are fake ones of a CPU: they share its cores, so that a step takes longer the more rows it has; the time of
a row should stay flat. Transfers and memory are read from the compiled program, and are those of real devices.
"""

import dataclasses
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import ml_collections
import numpy as np

from albert_jax.checkpoints.manager import Checkpoints
from albert_jax.commands.dry_run import device_bytes
from albert_jax.tasks import make_task
from albert_jax.tools.benchmarking import batches
from albert_jax.tools.benchmarking import job as jobs
from albert_jax.tools.benchmarking.job import OURS, Job
from albert_jax.tools.planning import hlo
from albert_jax.training.program import Program, make_program
from albert_jax.training.sharding import to_devices

Found = dict[str, Any]
MIB = 2**20


def scale(job: Job, devices: Sequence[int], rows: int, say: Callable[[str], None]) -> list[Found]:
  """Measures meshes of the given numbers of devices, each with the same rows on every device; see `measure`."""
  points = []
  for count in devices:
    points.append(_run(job, say, count, rows * count, job.config.train.microbatches))
    say(f"{count} devices: {points[-1]['step_seconds']:.2f} s a step")
  return points


def microbatches(job: Job, counts: Sequence[int], rows: int, say: Callable[[str], None]) -> list[Found]:
  """Compiles the step on one device for batches of counts × rows, worked through in as many microbatches."""
  points = []
  for count in counts:
    points.append(_run(dataclasses.replace(job, steps=0), say, 1, rows * count, count))
    say(f"{count} microbatches: {points[-1]['temporary_bytes'] / MIB:,.0f} MiB of temporaries")
  return points


def _run(job: Job, say: Callable[[str], None], devices: int, batch_size: int, parts: int) -> Found:
  config = job.config.copy_and_resolve_references()
  config.train.update(batch_size=batch_size, microbatches=parts)
  return jobs.run(dataclasses.replace(job, contender=OURS, action="scale", config=config, devices=devices), say)


def measure(job: Job) -> Found:
  """One point, in its process.

  Returns:
    `devices`, `batch_size`, `microbatches`; of a device: `sent_bytes` in a step, by kind of collective,
    `temporary_bytes` and `state_bytes`; where steps are asked for: `step_seconds` (median), `input_seconds` (the
    processor's, for a batch), `checkpoint_bytes` and `checkpoint_seconds`.
  """
  task = make_task(job.config)
  program = make_program(job.config, task, jax.devices()[: job.devices or None])
  size = job.config.train.batch_size
  compiled = program.train_step.lower(program.state, task.batch_specs(size), program.hyper).compile()
  sent: Counter[str] = Counter()
  for collective in hlo.collectives(compiled.as_text(), program.mesh.size):
    sent[collective.kind] += collective.sent
  found: Found = {
    "devices": program.mesh.size,
    "mesh": dict(program.mesh.shape),
    "batch_size": size,
    "microbatches": job.config.train.microbatches,
    "sent_bytes": dict(sent),
    "temporary_bytes": compiled.memory_analysis().temp_size_in_bytes,
    "state_bytes": device_bytes(program.state),
  }
  return found | (_timed(job, program, compiled) if job.steps else {})


def _timed(job: Job, program: Program, compiled) -> Found:
  rows = batches.make_rows(program.task, job.lengths, job.config.seed)
  size = job.config.train.batch_size
  start = time.process_time()
  made = batches.make_batches(rows, 2, size)
  input_seconds = (time.process_time() - start) / 2
  placed = [to_devices(batch, program.batch_sharding, size) for batch in made]
  state, seconds = program.init(job.config.seed), []
  for number in range(1 + job.steps):
    start = time.perf_counter()
    state = jax.block_until_ready(compiled(state, placed[number % 2], program.hyper)[0])
    seconds.append(time.perf_counter() - start)
  return {
    "step_seconds": float(np.median(seconds[1:])),
    "input_seconds": input_seconds,
    **_checkpoint(state, job.path),
  }


def _checkpoint(state, folder: Path) -> Found:
  with tempfile.TemporaryDirectory(dir=folder) as workdir:
    start = time.perf_counter()
    checkpoints = Checkpoints(workdir)
    checkpoints.save(state, int(state.step))
    checkpoints.close()
    seconds = time.perf_counter() - start
    size = sum(path.stat().st_size for path in Path(workdir).rglob("*") if path.is_file())
  return {"checkpoint_bytes": size, "checkpoint_seconds": seconds}


def report(points: list[Found], memory: list[Found], config: ml_collections.ConfigDict) -> str:
  """Tables in Markdown."""
  lines = [
    f"{config.name}: mesh data × fsdp × tensor, {points[0]['batch_size'] // points[0]['devices']} rows on each device",
    "",
    "| devices | mesh | batch | step, ms | ms a row | input, ms a row | sent, MiB | temporaries, MiB | state, MiB | "
    "checkpoint, MiB | s |",
    "|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
  ]
  for point in points:
    rows = point["batch_size"]
    cells = (
      point["devices"],
      "×".join(map(str, point["mesh"].values())),
      rows,
      f"{1e3 * point['step_seconds']:,.0f}",
      f"{1e3 * point['step_seconds'] / rows:,.1f}",
      f"{1e3 * point['input_seconds'] / rows:.3f}",
      f"{sum(point['sent_bytes'].values()) / MIB:,.2f}",
      f"{point['temporary_bytes'] / MIB:,.1f}",
      f"{point['state_bytes'] / MIB:,.1f}",
      f"{point['checkpoint_bytes'] / MIB:,.1f}",
      f"{point['checkpoint_seconds']:.1f}",
    )
    lines.append(f"| {' | '.join(map(str, cells))} |")
  lines += ["", "Sent, temporaries and state are of one device; sent by the ring algorithms, in a step.", ""]
  lines += ["| batch, one device | microbatches | temporaries, MiB |", "|---:|---:|---:|"]
  lines += [
    f"| {point['batch_size']} | {point['microbatches']} | {point['temporary_bytes'] / MIB:,.1f} |" for point in memory
  ]
  return "\n".join(lines)
