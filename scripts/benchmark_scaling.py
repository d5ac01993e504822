"""Measures input, step and checkpoint as the mesh grows, on fake devices of a CPU, and memory by microbatches.

    python scripts/benchmark_scaling.py --config=configs/albert_base.py --config.data.max_length=128
    python scripts/benchmark_scaling.py --config=configs/bert_base.py --devices=1,2,4,8 --config.mesh.data=1 \
      --config.mesh.fsdp=-1 --output=fsdp.json

Every device has as many rows. The fake devices share the machine's cores; the bytes that they send each other are read
from the compiled program.
"""

import functools
import json
import sys
import tempfile
from pathlib import Path

from absl import flags
from ml_collections import config_flags

from albert_jax import cli
from albert_jax.tools.benchmarking.job import OURS, Job, write_json
from albert_jax.tools.benchmarking.scaling import microbatches, report, scale

_CONFIG = config_flags.DEFINE_config_file("config", None, "A file of configs/, with arguments after a colon.")
_DEVICES = flags.DEFINE_list("devices", ["1", "2", "4", "8"], "Sizes of the mesh.")
_ROWS = flags.DEFINE_integer("rows", 2, "Rows on each device.", lower_bound=1)
_STEPS = flags.DEFINE_integer("steps", 3, "Steps to time on each mesh.", lower_bound=1)
_MICROBATCHES = flags.DEFINE_list(
  "microbatches", ["1", "4", "16"], "Microbatches, and multiples of the batch with them."
)
_OUTPUT = flags.DEFINE_string("output", None, "Write the result as JSON, too.")
flags.mark_flag_as_required("config")


def main(_: list[str]) -> None:
  """Measures, prints and writes."""
  say = functools.partial(print, file=sys.stderr, flush=True)
  with tempfile.TemporaryDirectory(prefix="albert_jax_scaling_") as folder:
    job = Job(OURS, "scale", _CONFIG.value, folder, steps=_STEPS.value)
    points = scale(job, [int(count) for count in _DEVICES.value], _ROWS.value, say)
    memory = microbatches(job, [int(count) for count in _MICROBATCHES.value], _ROWS.value, say)
  if _OUTPUT.value:
    found = {"config": json.loads(_CONFIG.value.to_json_best_effort()), "meshes": points, "microbatches": memory}
    write_json(Path(_OUTPUT.value), found)
  print(report(points, memory, _CONFIG.value))


if __name__ == "__main__":
  cli.run(main)
