"""The folder of a step, from its first file to its final name."""

import contextlib
import os
import shutil
from pathlib import Path

import orbax.checkpoint as ocp

from albert_jax.checkpoints import manifest

ITEM = "default"  # Orbax's name for the arrays in the folder of a step
UNFINISHED = ocp.path.atomicity_types.TMP_DIR_SUFFIX  # is in the name of a folder that is being written


class SealedFolder(ocp.path.atomicity.AtomicRenameTemporaryPath):
  """How Orbax names the folders that it has written: that of a step gets its manifest first, and only then its name.

  Orbax offers `atomicity_options` in place of `temporary_path_class`, but these choose among its own classes only.
  """

  async def finalize(self) -> None:
    """Gives the folder its final name."""
    step = self.get_final()
    if step.name == ITEM:
      return await super().finalize()
    whole = step.with_name(f"{step.name}.whole{UNFINISHED}")
    store = self._checkpoint_metadata_store
    await ocp.path.atomicity.AtomicRenameTemporaryPath(self.get(), whole, checkpoint_metadata_store=store).finalize()
    _check_readable(Path(whole))
    manifest.write(Path(whole), name=step.name)
    os.rename(whole, step)


def _check_readable(step: Path) -> None:
  """Raises OSError unless what a restore begins with is there; only then does a step get its manifest."""
  stored = ocp.PyTreeCheckpointHandler().metadata(step / ITEM).tree
  if not stored or "params" not in stored:
    raise OSError(f"{step} was written, but its parameters cannot be read back")


def remove_unfinished(folder: Path) -> None:
  """Removes what a kill left: folders still being written, and steps without any file."""
  for path in folder.iterdir():
    is_empty = path.name.isdecimal() and not any(files for _, _, files in os.walk(path))
    if (is_empty or UNFINISHED in path.name) and path.is_dir() and not path.is_symlink():
      with contextlib.suppress(FileNotFoundError):  # a process on its way out may still rename or remove it
        shutil.rmtree(path)
