"""Tasks by name: each gives a model, losses in (sum, weight) pairs, batches and metrics to the one training loop."""

import ml_collections

from albert_jax.errors import unknown
from albert_jax.tasks.pretrain import PretrainTask

TASKS = {"pretrain": PretrainTask}


def make_task(config: ml_collections.ConfigDict):
  """Builds the task that `config.task` names.

  Raises:
    InputError: the name is unknown, or a value of the config does not fit.
  """
  if config.task not in TASKS:
    raise unknown("task", config.task, TASKS)
  return TASKS[config.task].from_config(config)
