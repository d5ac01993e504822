"""Measures a train step: speed, memory, compilation, and where the time goes; and that of peers in the same run.

    python scripts/benchmark.py --config=configs/bert_base.py --config.train.batch_size=8
    python scripts/benchmark.py --config=configs/bert_base.py --config.train.batch_size=8 \
      --peers=transformers,transformers_compiled,tuned,tuned_compiled --output=bert_base.json
    python scripts/benchmark.py --config=configs/bert_base.py --config.train.batch_size=8 --config.data.packing=8 \
      --lengths=realistic --peers=transformers

Every contender starts from the same weights and takes the same batches, made once by the input pipeline: of random
tokens, rows full or of lengths that are half a row on average, or of the config's own text. Each runs in a process of
its own, in turn, several times over. Before anything is timed, loss and gradient of the first step must agree.
Peers (torch, transformers): `transformers`, the model with its own loss; `tuned`, an own loop that applies the
masked-LM head at the predicted positions only; `packed`, the same on our packed rows; all three eager, or, with
`_compiled`, by torch.compile. All with fused AdamW and clip 1.0.
"""

import datetime
import functools
import json
import shlex
import sys
import tempfile
from pathlib import Path

from absl import flags
from ml_collections import config_flags

from albert_jax import cli
from albert_jax.tools.benchmarking.batches import LENGTHS
from albert_jax.tools.benchmarking.job import OURS, Job, write_json
from albert_jax.tools.benchmarking.race import race
from albert_jax.tools.benchmarking.report import machine, report

_CONFIG = config_flags.DEFINE_config_file("config", None, "A file of configs/, with arguments after a colon.")
_STEPS = flags.DEFINE_integer("steps", 20, "Steps to time in each run.", lower_bound=1)
_WARMUP = flags.DEFINE_integer("warmup", 5, "Steps before them.", lower_bound=1)
_REPEATS = flags.DEFINE_integer("repeats", 3, "Runs of each contender.", lower_bound=1)
_PEERS = flags.DEFINE_list("peers", [], "Whom to measure beside it, see above.")
_LENGTHS = flags.DEFINE_enum("lengths", "full", LENGTHS, "Random text, full or realistic; or data, the config's text.")
_THREADS = flags.DEFINE_integer("threads", 0, "Cores for each contender; 0 = all.", lower_bound=0)
_OUTPUT = flags.DEFINE_string("output", None, "Write the result as JSON, too.")
flags.mark_flag_as_required("config")


def main(argv: list[str]) -> None:
  """Measures, prints and writes."""
  config = _CONFIG.value
  say = functools.partial(print, file=sys.stderr, flush=True)
  with tempfile.TemporaryDirectory(prefix="albert_jax_benchmark_") as folder:
    job = Job(
      OURS,
      "prepare",
      config,
      folder,
      steps=_STEPS.value,
      warmup=_WARMUP.value,
      threads=_THREADS.value,
      lengths=_LENGTHS.value,
    )
    found = race(job, _PEERS.value, repeats=_REPEATS.value, say=say)
  found = {
    "name": config.name,
    "date": datetime.date.today().isoformat(),
    "command": shlex.join([Path(sys.executable).name, *sys.argv]),
    "machine": machine(),
    "settings": {
      name: flags.FLAGS[name].value for name in ("steps", "warmup", "repeats", "peers", "lengths", "threads")
    },
    "config": json.loads(config.to_json_best_effort()),
    **found,
  }
  if _OUTPUT.value:
    write_json(Path(_OUTPUT.value), found)
  print(report(found))


if __name__ == "__main__":
  cli.run(main)
