"""Where a run takes its first parameters from."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import ml_collections
from flax.traverse_util import flatten_dict

from albert_jax.checkpoints import manager
from albert_jax.config import load_config
from albert_jax.data.tokenizers.hf_folder import FOLDER as TOKENIZER_FOLDER
from albert_jax.errors import InputError
from albert_jax.optim.optimizer import MomentsState
from albert_jax.training import best

# What a model's shape consists of; a config that leaves one of these empty inherits it.
SHAPE = ("vocab_size", "embedding", "width", "layers", "heads", "ffn", "positions", "token_types", "activation")
_LISTED = 5


@dataclasses.dataclass(frozen=True)
class Pretrained:
  """A trained model on disk.

  Attributes:
    path: the folder.
    task: what it was trained for, a name in `tasks.TASKS`.
    model: its `config.model`.
    labels: names of the classes that its classifier tells apart.
    tokenizer: what `load_tokenizer` reads, "" if it has none.
    specs: shapes and dtypes of its parameters, a nested dict of `jax.ShapeDtypeStruct`.
    restore: reads the parameters that a nested dict of shapes (with shardings) names.
    restore_moments: the same for the optimizer's moments, {"count", "mu", "nu"}; None where there are none.
    about: one line on where the parameters come from.
    step: of the training that they come from, if that is known.
  """

  path: str
  task: str
  model: dict
  labels: tuple[str, ...]
  tokenizer: str
  specs: dict
  restore: Callable[[dict], dict]
  about: str
  step: int | None = None
  restore_moments: Callable[[dict], dict] | None = None

  def without(self, name: str) -> "Pretrained":
    """The same, but for a module."""
    return dataclasses.replace(self, specs={key: value for key, value in self.specs.items() if key != name})


def pretrained_of_run(workdir: str, step: int | None = None) -> Pretrained:
  """A run's workdir: the step that is asked for, or else the best one where the run keeps it, or else the newest.

  Raises:
    InputError: the folder holds no run, or no checkpoint of the step.
  """
  config = load_config(workdir)
  folder = manager.FOLDER
  if step is None and (Path(workdir) / best.FOLDER).is_dir():
    folder = best.FOLDER
  checkpoints = manager.Checkpoints(workdir, read_only=True, folder=folder)
  step = checkpoints.latest() if step is None else step
  specs, moments = checkpoints.param_specs(step), checkpoints.find_entry(MomentsState._fields, step)
  tokenizer = Path(workdir) / TOKENIZER_FOLDER
  return Pretrained(
    path=str(workdir),
    task=config.task,
    model=config.model.to_dict(),
    labels=tuple(config.data.labels) if "labels" in config.data else (),
    tokenizer=str(tokenizer) if tokenizer.is_dir() else "",
    specs=specs,
    restore=lambda wanted: checkpoints.restore_params(wanted, step),
    about=f"{workdir}, {'best ' if folder == best.FOLDER else ''}step {step}",
    step=step,
    restore_moments=moments and (lambda wanted: checkpoints.restore_entry(moments, wanted, step)),
  )


def init_from(start: Pretrained, params: dict) -> tuple[dict, list[str], list[str]]:
  """Replaces new parameters by those of the start, as far as it has them.

  Args:
    start: a trained model.
    params: new parameters, or shapes with shardings.

  Returns:
    The parameters, the modules that stay new, and the start's modules that have no use.

  Raises:
    InputError: a parameter that both have differs in shape.
  """
  wanted, new, unused = _common(_specs(params), start.specs)
  _check_shapes(start, wanted)
  return _merged(params, start.restore(wanted)), new, unused


def moments_from(start: Pretrained, params: dict, opt: Any) -> Any:
  """The optimizer's state with the moments of the start, as far as it has them; schedules begin anew.

  Args:
    start: a trained model.
    params: new parameters, or shapes with shardings.
    opt: the new optimizer's state, of Optax.

  Raises:
    InputError: the start has no moments.
  """
  if start.restore_moments is None:
    raise InputError(
      f"init_optimizer: {start.path} holds parameters without an optimizer's moments, as imported models and best/ do. "
      "Leave it at new, or start from a run that keeps none as best."
    )
  wanted, _, _ = _common(_specs(params), start.specs)

  def follow(node: Any) -> Any:
    if not isinstance(node, MomentsState):
      return node
    found = start.restore_moments({"count": _specs(node.count), "mu": wanted, "nu": wanted})
    return MomentsState(found["count"], _merged(node.mu, found["mu"]), _merged(node.nu, found["nu"]))

  return jax.tree.map(follow, opt, is_leaf=lambda node: isinstance(node, MomentsState))


def fill_from_pretrained(config: ml_collections.ConfigDict, start: Pretrained) -> None:
  """Fills what a config leaves to its start: the model's shape, its sharing tables and the tokenizer.

  Tables by leaf, which may stay empty, are the start's unless the config gives those of both parts.
  """
  with config.unlocked():
    if not config.model.width:
      config.model.project_embeddings = start.model.get("project_embeddings", False)
    if config.model.kind == "transformer":  # the default: a start of another kind is taken as it is
      config.model.kind = start.model["kind"]
    for key in SHAPE:
      config.model[key] = config.model[key] or start.model[key]
    if "depth" in start.model and not (config.model.sharing.attn or config.model.sharing.ffn):
      config.model.depth.update(start.model["depth"])
    has_own_tables = config.model.sharing.attn and config.model.sharing.ffn
    for name, scheme in {} if has_own_tables else start.model["sharing"].items():
      config.model.sharing[name] = config.model.sharing[name] or scheme
    config.data.tokenizer = config.data.tokenizer or start.tokenizer


def _specs(arrays: Any) -> Any:
  return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding), arrays)


def _check_shapes(start: Pretrained, wanted: dict) -> None:
  has = flatten_dict(start.specs, sep="/")
  problems = [
    f"{path} is {list(has[path].shape)} there, this config asks for {list(spec.shape)}"
    for path, spec in flatten_dict(wanted, sep="/").items()
    if has[path].shape != spec.shape
  ]
  if problems:
    more = f" and {len(problems) - _LISTED} more" if len(problems) > _LISTED else ""
    raise InputError(
      f"init_from={start.path} does not fit this config: {'; '.join(problems[:_LISTED])}{more}. Of the model's shape, "
      "only sharing, depth and layers may differ from the start: give the other keys of model the values it has."
    )


def _common(params: Any, specs: Any, path=()) -> tuple[Any, list[str], list[str]]:
  """The part of `params` that `specs` has too, and the names that only one of them has."""
  if not isinstance(params, dict):
    return params, [], []
  found, names = {}, {True: [], False: []}
  for key in sorted({*params, *specs}):
    if key in params and key in specs:
      found[key], new, unused = _common(params[key], specs[key], (*path, key))
      names[True] += new
      names[False] += unused
    else:
      names[key in params].append("/".join((*path, key)))
  return found, names[True], names[False]


def _merged(params: Any, replacements: Any) -> Any:
  if not isinstance(params, dict):
    return replacements
  return {key: _merged(value, replacements[key]) if key in replacements else value for key, value in params.items()}
