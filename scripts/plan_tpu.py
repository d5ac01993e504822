"""Compiles a config's train step for a slice of TPUs, on a machine without one, and tells what to expect.

    python scripts/plan_tpu.py --config=configs/albert_xxlarge.py --topology=v5e:16x16
    python scripts/plan_tpu.py --config=configs/bert_large.py --config.train.batch_size=4096 --topology=v5p:4x4x4
    python scripts/plan_tpu.py --config=configs/albert_base.py --topology=v5e:16x16 --picture=plan.png

Told are: whether it fits, memory of a chip, FLOPs, transfers between chips, and an estimate of time and MFU, for the
best of several meshes, numbers of microbatches and kinds of remat. What the config sets of these is kept. `--picture`
draws memory and transfers for 8 to 1024 chips (256 of v5e and v6e). The last line is a JSON object. Needs libtpu:
pip install -e '.[tpu_plan]'.
"""

import functools
import sys

from absl import flags
from ml_collections import config_flags

from albert_jax import cli
from albert_jax.tools.planning.chips import chip_of, open_topology
from albert_jax.tools.planning.report import report
from albert_jax.tools.planning.scaling import draw, scale, table
from albert_jax.tools.planning.search import search

_CONFIG = config_flags.DEFINE_config_file("config", None, "A file of configs/, with arguments after a colon.")
_TOPOLOGY = flags.DEFINE_string("topology", None, "The slice, e.g. v5e:16x16 or v5p:4x4x4.", required=True)
_PICTURE = flags.DEFINE_string("picture", None, "Draw memory and transfers against the number of chips: .png or .svg.")
flags.mark_flag_as_required("config")


def main(_: list[str]) -> None:
  """Searches, reports and draws."""
  say = functools.partial(print, file=sys.stderr, flush=True)
  chip, devices = chip_of(_TOPOLOGY.value), open_topology(_TOPOLOGY.value)
  plan = search(_CONFIG.value, devices, chip, say)
  text = report(plan, _TOPOLOGY.value, chip, len(devices))
  if _PICTURE.value and plan.best:
    points = scale(_CONFIG.value, _TOPOLOGY.value, plan.best.choice, say)
    draw(points, _CONFIG.value.name, _PICTURE.value)
    print(table(points))
  print(text)


if __name__ == "__main__":
  cli.run(main)
