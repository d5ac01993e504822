"""Tasks by name: each gives a model, losses in (sum, weight) pairs, batches and metrics to the one training loop."""

import ml_collections

from albert_jax.config.records import add_missing, check_config, split_lists
from albert_jax.errors import InputError, unknown
from albert_jax.tasks.choice import ChoiceTask
from albert_jax.tasks.classify import ClassifyTask
from albert_jax.tasks.pretrain import PretrainTask
from albert_jax.tasks.settings import RUNTIME, encoder_config
from albert_jax.tasks.span import SpanTask
from albert_jax.training.init_from import SHAPE, Pretrained, fill_from_pretrained
from albert_jax.training.surgery import operate
from albert_jax.training.task import Task

TASKS: dict[str, type[Task]] = {
  "pretrain": PretrainTask,
  "classify": ClassifyTask,
  "choice": ChoiceTask,
  "span": SpanTask,
}


def make_task(config: ml_collections.ConfigDict) -> Task:
  """Checks a complete config and builds the task that `config.task` names.

  Raises:
    InputError: a value is not of its type or out of range, or values do not fit each other.
  """
  check_config(config)
  return _task_class(config).from_config(config)


def resolve(config: ml_collections.ConfigDict, start: Pretrained | None) -> Pretrained | None:
  """Fills what a config leaves open, from the start and from the data, so that the record of a run is whole.

  Returns:
    The start as a model with the config's sharing, depth and layers, without its classifier if that was trained for
    other labels.

  Raises:
    InputError: there is no start, and the config does not give the model's whole shape; or the start cannot become such
      a model.
  """
  if start is not None:
    fill_from_pretrained(config, start)
  with config.unlocked():
    add_missing(config)  # what a value of the command line, such as data.source, has keys for
    split_lists(config)
  missing = [f"model.{key}" for key in SHAPE if not config.model[key]]
  missing += [f"model.sharing.{part}" for part in ("attn", "ffn") if not config.model.sharing[part]]
  if missing:
    raise InputError(
      f"{', '.join(missing)} not given: start from a trained model with --config.init_from=DIR, or give each of them."
    )
  _task_class(config).resolve(config)
  labels = tuple(config.data.labels) if "labels" in config.data else ()
  if start is None:
    return None
  old = encoder_config(ml_collections.ConfigDict({**start.model, **RUNTIME}))
  start = operate(start, old, encoder_config(config.model), config.init_rule, config.init_optimizer)
  if (start.task, start.labels) != (config.task, labels):
    return start.without("classifier")
  return start


def _task_class(config: ml_collections.ConfigDict) -> type[Task]:
  if config.task not in TASKS:
    raise unknown("task", config.task, TASKS)
  return TASKS[config.task]
