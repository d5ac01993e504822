"""Trains what a config describes, or resumes where the same command left off.

python train.py --config=configs/NAME.py[:arguments] [--workdir=DIR] [--config.key=value …] [--dry_run]

--replay_step=S takes step S of a run once more, and shows its batch and its numbers; it writes nothing.
SIGTERM or SIGINT: the run is saved and ends with status 75. docs/reliability.md has the other ways to end.
"""

import jax
import ml_collections
from absl import flags
from ml_collections import config_flags

from albert_jax import cli
from albert_jax.commands.dry_run import dry_run
from albert_jax.commands.replay import replay
from albert_jax.commands.seeds import train_seeds
from albert_jax.config import adopt_earlier
from albert_jax.errors import InputError
from albert_jax.interop.pretrained import open_pretrained
from albert_jax.messages import say
from albert_jax.runtime import distributed, preemption
from albert_jax.runtime.compilation import keep_compiled
from albert_jax.runtime.memory import reuse_memory
from albert_jax.tasks import make_task, resolve
from albert_jax.training.loop import train
from albert_jax.training.program import make_program
from albert_jax.training.run_signature import check_allowed

_CONFIG = config_flags.DEFINE_config_file("config", None, "A file of configs/, with arguments after a colon.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run; runs/NAME by default.")
_DRY_RUN = flags.DEFINE_bool("dry_run", False, "Print parameters, FLOPs and memory; allocate nothing.")
_ALLOW = flags.DEFINE_list("allow_changes", [], "Fields in which a resumed run may differ from what it was.")
_REPLAY = flags.DEFINE_integer("replay_step", None, "Take this step of the run once more, to look into it.")
flags.mark_flag_as_required("config")


def main(_: list[str]) -> None:
  """Builds the program and runs it."""
  distributed.initialize()
  reuse_memory()
  with preemption.handled(distributed.peers()) as notices:
    run(_CONFIG.value, notices)


def run(config: ml_collections.ConfigDict, notices: preemption.Notices) -> None:
  """Does with a config what the flags ask for."""
  start = resolve(config, open_pretrained(config.init_from) if config.init_from else None)
  check_allowed(config, _ALLOW.value)
  keep_compiled(config.data.cache_dir)
  workdir = _WORKDIR.value or f"runs/{config.name}"
  if "://" in workdir:
    raise InputError(f"--workdir={workdir} is no folder: mount the bucket, and give the path of the mount.")

  if config.seeds == 1:
    for key, value in adopt_earlier(config, workdir, _ALLOW.value).items():
      say(f"{key} is {value}, as in the run that {workdir} holds")

  def make(config):
    return make_program(config, make_task(config))

  if _DRY_RUN.value:
    print(dry_run(make(config)))
  elif _REPLAY.value is not None:
    if config.seeds > 1:
      raise InputError("--replay_step: give the run of one seed, --config.seeds=1 --config.seed=N --workdir=…/seed_N")
    report = replay(make(config), workdir, _REPLAY.value, start)
    if jax.process_index() == 0:
      print(report)
  elif config.seeds > 1:
    train_seeds(make, config, workdir, start, allow_changes=_ALLOW.value, notices=notices)
  else:
    train(make(config), workdir, start, allow_changes=_ALLOW.value, notices=notices)


if __name__ == "__main__":
  cli.run(main, distributed.exit_process)
