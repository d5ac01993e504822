"""Evaluates a run's checkpoint on its validation split.

  python eval.py --workdir=DIR [--step=N]

The last line is a JSON object: step and metrics by split.
"""

import json

from absl import flags

from albert_jax import cli
from albert_jax.config import load_config
from albert_jax.tasks import make_task
from albert_jax.training import distributed
from albert_jax.training.checkpoint import Checkpoints
from albert_jax.training.loop import evaluate
from albert_jax.training.metrics import summary
from albert_jax.training.program import make_program

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.", required=True)
_STEP = flags.DEFINE_integer("step", None, "Which checkpoint; the newest by default.")


def main(_: list[str]) -> None:
  """Restores the parameters and evaluates them."""
  distributed.initialize()
  config = load_config(_WORKDIR.value)
  config.mesh.update(data=-1, fsdp=1, tensor=1)  # whatever devices there are
  program = make_program(config, make_task(config))
  checkpoints = Checkpoints(_WORKDIR.value, read_only=True)
  step = _STEP.value if _STEP.value is not None else checkpoints.latest()
  params = checkpoints.restore_params(program.state.params, step)
  results = evaluate(program, params, program.task.load_data().evaluations)
  for split, metrics in results.items():
    print(f"{split} at step {step}: {summary(metrics)}")
  print(json.dumps({"step": step, **results}))


if __name__ == "__main__":
  cli.run(main)
