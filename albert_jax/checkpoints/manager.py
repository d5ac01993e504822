"""The checkpoints of a run. Only this package knows Orbax.

A checkpoint is a plain nested dictionary {step, params, opt} of arrays, written in the background. It holds no random
state and no position in the data, since both follow from the step. A manifest in each checkpoint lists its files with
their checksums; a checkpoint that differs from its manifest is never read.
"""

import contextlib
import errno
import itertools
import os
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from flax import serialization
from jax.experimental import multihost_utils

from albert_jax.checkpoints import manifest
from albert_jax.checkpoints.background import quiet_background
from albert_jax.checkpoints.sealed import ITEM, SealedFolder, remove_unfinished
from albert_jax.checkpoints.shapes import check_shapes
from albert_jax.errors import InputError
from albert_jax.messages import say

FOLDER = "checkpoints"
_NO_STEP, _REFUSED = -1, -2


def check_workdir(workdir: str) -> None:
  """Raises InputError where Orbax could not read again what it writes: it takes its own path for a pattern."""
  path = str(Path(workdir).absolute())
  if found := sorted({*path} & {*"*?[]"}):
    raise InputError(f"The workdir {path} has {' '.join(found)} in its path, which Orbax cannot read: name another.")


class Checkpoints:
  """The checkpoints of a workdir.

  Every process of a job calls each method at the same time; process 0 verifies the files for all. Half-written files of
  a killed run are removed, unless `read_only`.

  Args:
    workdir: its folder is made if it is not there, unless `read_only`.
    folder: the folder's name in the workdir.
    every: steps between two checkpoints.
    keep: how many of the newest stay.
    keep_every: those at multiples of this stay for good; 0 = none.
  """

  def __init__(
    self,
    workdir: str,
    *,
    folder: str = FOLDER,
    every: int = 1,
    keep: int = 1,
    keep_every: int = 0,
    read_only: bool = False,
  ):
    check_workdir(workdir)
    self.folder = Path(workdir).absolute() / folder
    self._every, self._read_only = every, read_only
    self._options = ocp.CheckpointManagerOptions(
      max_to_keep=keep,
      keep_period=keep_every or None,
      lightweight_initialize=True,  # else Orbax reads, and logs, files that nobody has verified
      temporary_path_class=SealedFolder,
      async_options=ocp.options.AsyncOptions(create_directories_asynchronously=False),  # else failing takes minutes
      multiprocessing_options=ocp.options.MultiprocessingOptions(barrier_sync_key_prefix=folder),
    )
    self._manager: ocp.CheckpointManager | None = None
    self._problems: dict[int, str | None] = {}
    if not read_only:
      self.folder.mkdir(parents=True, exist_ok=True)
      if jax.process_index() == 0:
        remove_unfinished(self.folder)
    elif not self.folder.is_dir():
      raise InputError(f"{self.folder} does not exist: give the workdir of a run that has saved a checkpoint.")

  def latest(self) -> int | None:
    """The newest undamaged step, or None.

    Warns of newer, damaged ones, and renames them, unless `read_only`.

    Raises:
      InputError: there are checkpoints, but all are damaged.
    """
    return self._choose(None)

  def is_due(self, step: int) -> bool:
    """Whether `every` asks for a checkpoint of this step."""
    return step % self._every == 0

  def save(self, state: Any, step: int) -> None:
    """Starts to write the state of a step; replaces an earlier checkpoint of the same step.

    The arrays are copied off the devices before this returns, so the state may be donated to the next step.

    Raises:
      InputError: the disk is full, now or when the save before this one was written.
    """
    with self._writing():
      if self._manager is None:  # made late: it lists the folder, which process 0 may have to clean first
        quiet_background()
        handler = ocp.PyTreeCheckpointHandler()
        self._manager = ocp.CheckpointManager(self.folder, options=self._options, item_handlers=handler)
      if step in self._manager.all_steps():
        self.wait()
        self._manager.delete(step)
      self._problems.pop(step, None)
      self._manager.save(step, args=ocp.args.PyTreeSave(_to_plain(state)), force=True)

  def restore(self, state: Any, step: int | None = None) -> Any:
    """Reads a checkpoint.

    Args:
      state: shapes, dtypes and shardings to restore to, as `jax.ShapeDtypeStruct`.
      step: which; by default the newest that is undamaged.

    Raises:
      InputError: there is no such step, it is damaged, or its arrays are not those of `state`.
    """
    return serialization.from_state_dict(state, self._read(_to_plain(state), step))

  def restore_params(self, params: Any, step: int | None = None) -> Any:
    """Reads the parameters alone, or those of them that `params` holds."""
    return self._read({"params": params}, step)["params"]

  def param_specs(self, step: int | None = None) -> dict:
    """Shapes and dtypes of the stored parameters, as a nested dict of `jax.ShapeDtypeStruct`; reads no array."""
    stored = self._stored(step)["params"]
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), stored)

  def find_entry(self, keys: Collection[str], step: int | None = None) -> tuple[str, ...] | None:
    """The path of the one entry that has exactly these keys, such as an optimizer's moments; None without one."""
    places = [((), self._stored(step))]
    while places:
      path, node = places.pop()
      if isinstance(node, dict):
        if {*node} == {*keys}:
          return path
        places += [((*path, key), value) for key, value in node.items()]
    return None

  def restore_entry(self, path: Sequence[str], wanted: Any, step: int | None = None) -> Any:
    """Reads what `wanted` holds of the entry at a path that `find_entry` gave."""
    for key in reversed(path):
      wanted = {key: wanted}
    found = self._read(wanted, step)
    for key in path:
      found = found[key]
    return found

  def wait(self) -> None:
    """Blocks until the checkpoint being written is on disk; raises what went wrong in the background."""
    if self._manager is not None:
      with self._writing():
        self._manager.wait_until_finished()

  def close(self) -> None:
    """Waits for the checkpoint being written, then ends Orbax's threads."""
    try:
      self.wait()
    finally:
      if self._manager is not None:
        self._manager.close()

  @contextlib.contextmanager
  def _writing(self) -> Iterator[None]:
    try:
      yield
    except Exception as error:  # Orbax and TensorStore raise many kinds
      if not any(os.strerror(code) in str(error) for code in (errno.ENOSPC, errno.EDQUOT)):
        raise
      raise InputError(
        f"The disk of {self.folder} is full: the newest checkpoint was not written, those before it are as they were. "
        "Make room, and start the same command again."
      ) from error

  def _choose(self, step: int | None) -> int | None:
    """As `_find`, in one process for all, so that they agree and the files are read once."""
    found, refusal = _NO_STEP, None
    if jax.process_index() == 0:
      try:
        found = self._find(step)
      except InputError as error:
        found, refusal = _REFUSED, error
    found = int(multihost_utils.broadcast_one_to_all(np.int32(found)))
    if found == _REFUSED:
      raise refusal or InputError(f"Process 0 refuses the checkpoints in {self.folder}; see its message.")
    return None if found == _NO_STEP else found

  def _find(self, step: int | None) -> int:
    steps = sorted(int(path.name) for path in self.folder.iterdir() if path.name.isdecimal())
    if step is None:
      return self._newest(steps)
    if step not in steps:
      raise InputError(f"{self.folder} holds no checkpoint of step {step}; it has {steps or 'none'}.")
    if problem := self._problem(step):
      raise InputError(f"The checkpoint {self._path(step)} is damaged: {problem}. {_hint(self._path(step))}")
    return step

  def _newest(self, steps: list[int]) -> int:
    damaged = []
    for step in reversed(steps):
      if self._problem(step) is None:
        for other in damaged:
          self._leave_out(other)
        return step
      damaged.append(step)
    if damaged:
      newest, problem = self._path(damaged[0]), self._problem(damaged[0])
      raise InputError(f"All checkpoints in {self.folder} are damaged: {steps}. {newest}: {problem}. {_hint(newest)}")
    return _NO_STEP

  def _leave_out(self, step: int) -> None:
    """Warns of a damaged step, and renames it, so that it does not count among those to keep."""
    path, problem = self._path(step), self._problem(step)
    if self._read_only or self._manager is not None:  # which would miss it
      say(f"warning: the checkpoint {path} is damaged, and is left out: {problem}")
      return
    free = (path.with_name(f"damaged-{step}-{number}") for number in itertools.count(1))
    aside = next(name for name in free if not os.path.lexists(name))
    os.rename(path, aside)
    del self._problems[step]
    say(f"warning: the checkpoint {path} is damaged, and is now called {aside.name}: {problem}")

  def _problem(self, step: int) -> str | None:
    """As `manifest.problem`; reads the files of a step only once."""
    if step not in self._problems:
      self._problems[step] = manifest.problem(self._path(step))
    return self._problems[step]

  def _path(self, step: int) -> Path:
    return self.folder / str(step)

  def _existing(self, step: int | None) -> int:
    """As `_choose`, but there must be one."""
    found = self._choose(step)
    if found is None:
      raise InputError(f"{self.folder} holds no checkpoint.")
    return found

  def _stored(self, step: int | None) -> dict:
    """The metadata of the arrays of a step."""
    return ocp.PyTreeCheckpointHandler().metadata(self._path(self._existing(step)) / ITEM).tree

  def _read(self, wanted: dict, step: int | None) -> dict:
    path = self._path(self._existing(step))
    handler = ocp.PyTreeCheckpointHandler()
    check_shapes(wanted, handler.metadata(path / ITEM).tree, path)
    restore_args = ocp.args.PyTreeRestore(
      wanted, ocp.checkpoint_utils.construct_restore_args(wanted), partial_restore=True
    )
    with ocp.Checkpointer(handler) as checkpointer:
      return checkpointer.restore(path / ITEM, args=restore_args)


def _hint(path: Path) -> str:
  return (
    "Take another step or a new --workdir; or, if you trust the files as they are now "
    f"(there was no manifest in an earlier version): python -m albert_jax.checkpoints.manifest {path}"
  )


def _to_plain(state: Any) -> dict:
  return serialization.to_state_dict(state)
