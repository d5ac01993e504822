"""Compiles a config's train step for TPUs or GPUs, on a machine without one, and tells what to expect.

    python scripts/plan.py --config=configs/bert_base.py --topology=h100:8
    python scripts/plan.py --config=configs/albert_xxlarge.py --topology=v5e:16x16
    python scripts/plan.py --config=configs/albert_base.py --topology=v5e:16x16 --picture=plan.png

Topologies are a100:N, h100:N and h200:N with up to 8 cards, and slices of v4, v5e, v5p and v6e. It tells whether the
step fits, memory, FLOPs, transfers between chips, and how long a step takes at least: for GPUs by a roofline over every
kernel, with the line of the model that it comes from. What the config sets of mesh, microbatches and remat is kept; the
rest is searched. docs/planning.md says what a plan cannot know.

`--picture` draws memory and transfers against the number of chips. `--most_bytes_per_token` makes a plan for GPUs fail
(status 1) where kernels beside matrix products and attention move more. The last line is a JSON object. Needs the
compilers: pip install -e '.[plan]'.
"""

import functools
import json
import sys

from absl import flags
from ml_collections import config_flags

from albert_jax import cli
from albert_jax.tools.planning.machines import machine_of, open_devices
from albert_jax.tools.planning.report import report
from albert_jax.tools.planning.scaling import draw, scale, table
from albert_jax.tools.planning.search import search

_CONFIG = config_flags.DEFINE_config_file("config", None, "A file of configs/, with arguments after a colon.")
_TOPOLOGY = flags.DEFINE_string("topology", None, "The machine, e.g. h100:8, v5e:16x16 or v5p:4x4x4.", required=True)
_PICTURE = flags.DEFINE_string("picture", None, "Draw memory and transfers against the number of chips: .png or .svg.")
_MOST = flags.DEFINE_float("most_bytes_per_token", None, "Fail where other kernels move more (GPUs).")
flags.mark_flag_as_required("config")


def main(_: list[str]) -> None:
  """Searches, reports and draws."""
  say = functools.partial(print, file=sys.stderr, flush=True)
  machine, devices = machine_of(_TOPOLOGY.value), open_devices(_TOPOLOGY.value)
  plan = search(_CONFIG.value, devices, machine, say)
  text = report(plan, _TOPOLOGY.value, machine, len(devices))
  if _PICTURE.value and plan.best:
    points = scale(_CONFIG.value, _TOPOLOGY.value, plan.best.choice, say)
    draw(points, _CONFIG.value.name, _PICTURE.value)
    print(table(points))
  print(text)
  moved = json.loads(text.splitlines()[-1]).get("other_bytes_per_token", 0)
  if _MOST.value is not None and moved > _MOST.value:
    say(f"{moved:,.0f} bytes a token are moved by other kernels than products and attention, more than allowed")
    sys.exit(1)


if __name__ == "__main__":
  cli.run(main)
