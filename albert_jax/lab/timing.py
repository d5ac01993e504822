"""Seconds of a step of each arm on this device, for `match="time"`."""

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path

import jax
import ml_collections

from albert_jax.errors import InputError
from albert_jax.files import new_file
from albert_jax.json_files import read_json
from albert_jax.lab.cost import open_program
from albert_jax.lab.runner import environment
from albert_jax.messages import say
from albert_jax.training.log.metrics import peak_flops
from albert_jax.training.sharding import to_devices

FILE = "time.json"
ROUNDS = 5
STEPS = 4  # of an arm in a round
ASSUMED_UTILISATION = 0.1  # of the peak; proxy models are small
ASSUMED_PER_CORE = 35e9  # FLOP/s of a CPU core, measured on configs/albert_tiny.py (docs/results/albert_tiny.md)


def step_seconds(configs: Mapping[str, ml_collections.ConfigDict], workdir: str) -> dict[str, float]:
  """Measures the arms, or reads what was measured when the lab began.

  The arms take turns, so that a slow minute of the machine hits all of them; the median of the rounds counts.

  Raises:
    InputError: the lab was begun on another device.
  """
  path, here = Path(workdir) / FILE, environment()["device"]
  if path.exists():
    record = read_json(path, {"device": str, "seconds": {str: float}}, hint="Remove it to measure again.")
    if record["device"] != here:
      raise InputError(f"{workdir} matches times of {record['device']}, this is {here}: go on there.")
    return record["seconds"]
  say("match=time: measuring the step of each arm")
  seconds = _measure(configs)
  with new_file(path) as temporary:
    temporary.write_text(json.dumps({"device": here, "seconds": seconds}, indent=2) + "\n", encoding="utf-8")
  return seconds


def _measure(configs: Mapping[str, ml_collections.ConfigDict]) -> dict[str, float]:
  ready = {}
  for name, config in configs.items():
    program = open_program(config)
    size = config.train.batch_size
    rows = program.task.load_data().train.batch(0, size, 0, size)
    batch = to_devices(rows, program.batch_sharding, size)
    state, _ = program.train_step(program.init(config.seed), batch, program.hyper)  # compiles
    ready[name] = [program, batch, state]
  rounds: dict[str, list[float]] = {name: [] for name in configs}
  for _ in range(ROUNDS):
    for name, held in ready.items():
      program, batch, state = held
      jax.block_until_ready(state)
      start = time.perf_counter()
      for _ in range(STEPS):
        state, _ = program.train_step(state, batch, program.hyper)
      jax.block_until_ready(state)
      rounds[name].append((time.perf_counter() - start) / STEPS)
      held[2] = state
  return {name: sorted(times)[ROUNDS // 2] for name, times in rounds.items()}


def assumed_flops_per_second() -> float:
  """What a training is assumed to reach on this machine, to say roughly how long a lab will take."""
  peaks = [peak_flops(device) for device in jax.devices()]
  if all(peaks):
    return ASSUMED_UTILISATION * sum(peaks)
  return ASSUMED_PER_CORE * (os.cpu_count() or 1)
