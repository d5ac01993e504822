"""Checkpoints: the one room that knows Orbax.

A checkpoint is a plain nested dictionary {step, params, opt} of arrays, written in the background. It needs no random
state and no place in the data, since both follow from the step.
"""

from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from flax import serialization

from albert_jax.errors import InputError
from albert_jax.training.step import TrainState

FOLDER = "checkpoints"


class Checkpoints:
  """The checkpoints of a workdir.

  Args:
    workdir: its folder `checkpoints/` is made if it is not there, unless `read_only`.
    every: steps between two checkpoints.
    keep: how many of the newest stay.
    keep_every: those at multiples of this stay for good; 0 = none.
  """

  def __init__(self, workdir: str, *, every: int = 1, keep: int = 1, keep_every: int = 0, read_only: bool = False):
    self.folder = Path(workdir).absolute() / FOLDER
    self._every = every
    if read_only and not self.folder.is_dir():
      raise InputError(f"{self.folder} does not exist: give the workdir of a run that has saved a checkpoint.")
    options = ocp.CheckpointManagerOptions(
      max_to_keep=None if read_only else keep,
      keep_period=keep_every or None,
      create=not read_only,
      cleanup_tmp_directories=not read_only,
    )
    self._manager = ocp.CheckpointManager(self.folder, options=options, item_handlers=ocp.PyTreeCheckpointHandler())

  def latest(self) -> int | None:
    """The newest step, or None."""
    return self._manager.latest_step()

  def is_due(self, step: int) -> bool:
    """Whether `every` asks for a checkpoint of this step."""
    return step % self._every == 0

  def save(self, state: TrainState, step: int) -> None:
    """Starts to write the state of a step.

    The arrays are copied off the devices before this returns, so the state may be donated to the next step.
    """
    self._manager.save(step, args=ocp.args.PyTreeSave(_to_plain(state)), force=True)

  def restore(self, state: TrainState, step: int | None = None) -> TrainState:
    """Reads a checkpoint.

    Args:
      state: shapes, dtypes and shardings to restore to, as `jax.ShapeDtypeStruct`.
      step: which; the newest by default.

    Raises:
      InputError: there is no such step, or its arrays are not those of `state`.
    """
    return serialization.from_state_dict(state, self._read(_to_plain(state), step))

  def restore_params(self, params: Any, step: int | None = None) -> Any:
    """Reads the parameters alone."""
    return self._read({"params": params}, step)["params"]

  def wait(self) -> None:
    """Blocks until the checkpoint under way is on disk; raises what went wrong in the background."""
    self._manager.wait_until_finished()

  def close(self) -> None:
    """Waits, then lets go of threads."""
    self.wait()
    self._manager.close()

  def _read(self, wanted: dict, step: int | None) -> dict:
    steps = sorted(self._manager.all_steps())
    step = steps[-1] if step is None and steps else step
    if step not in steps:
      raise InputError(f"{self.folder} holds no checkpoint of step {step}; it has {steps or 'none'}.")
    self._check_shapes(wanted, step)
    restore_args = ocp.checkpoint_utils.construct_restore_args(wanted)
    return self._manager.restore(step, args=ocp.args.PyTreeRestore(wanted, restore_args, partial_restore=True))

  def _check_shapes(self, wanted: dict, step: int) -> None:
    """Orbax casts and truncates in silence: compare first."""
    stored = self._manager.item_metadata(step).tree
    saved = {path: (tuple(leaf.shape), str(leaf.dtype)) for path, leaf in _flatten(stored).items()}
    problems = []
    for path, leaf in _flatten(wanted).items():
      own = (tuple(leaf.shape), str(leaf.dtype))
      if path not in saved:
        problems.append(f"{path} is missing")
      elif saved[path] != own:
        problems.append(f"{path} is {saved[path]}, the config asks for {own}")
    if problems:
      raise InputError(
        f"The checkpoint {self.folder / str(step)} does not fit this config: {'; '.join(problems[:5])}"
        f"{f' and {len(problems) - 5} more' if len(problems) > 5 else ''}. "
        "Use the config it was made with, or a new --workdir."
      )


def _to_plain(state: TrainState) -> dict:
  return serialization.to_state_dict(state)


def _flatten(tree: dict) -> dict[str, Any]:
  return {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}
