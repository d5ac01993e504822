"""Trains what a config describes, or goes on where the same command left off.

python train.py --config=configs/NAME.py[:arguments] [--workdir=DIR] [--config.key=value …] [--dry_run]
"""

from absl import flags
from ml_collections import config_flags

from albert_jax import cli
from albert_jax.errors import InputError
from albert_jax.tasks import make_task
from albert_jax.training import distributed
from albert_jax.training.dry_run import dry_run
from albert_jax.training.loop import train
from albert_jax.training.memory import keep_freed_memory
from albert_jax.training.program import make_program

_CONFIG = config_flags.DEFINE_config_file("config", None, "A file of configs/, with arguments after a colon.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run; runs/NAME by default.")
_DRY_RUN = flags.DEFINE_bool("dry_run", False, "Print parameters, FLOPs and memory; allocate nothing.")
flags.mark_flag_as_required("config")


def main(_: list[str]) -> None:
  """Builds the program and runs it."""
  config = _CONFIG.value
  distributed.initialize()
  keep_freed_memory()
  program = make_program(config, make_task(config))
  if _DRY_RUN.value:
    print(dry_run(program))
  else:
    workdir = _WORKDIR.value or f"runs/{config.name}"
    if "://" in workdir:
      raise InputError(f"--workdir={workdir} is no folder: mount the bucket, and give the path of the mount.")
    train(program, workdir)


if __name__ == "__main__":
  cli.run(main)
