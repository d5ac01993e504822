"""Curves and settings for Weights & Biases, by its own package and its own settings (`WANDB_MODE`, `WANDB_PROJECT`)."""

import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import wandb

from albert_jax.files import read_text

_ID = "wandb_id"  # beside the run: whoever resumes it goes on with the same curves


class WeightsAndBiases:
  """A run of Weights & Biases.

  Args:
    workdir: of the run; the package's own files go to its folder `wandb`.
    first_step: the step that the run starts from.
    config: the run's, by dotted key.

  Raises:
    Exception: as the package raises, here and in every call.
  """

  def __init__(self, workdir: str, first_step: int, config: Mapping[str, Any]):
    path = Path(workdir) / _ID
    if not path.exists():
      path.write_text(uuid.uuid4().hex, encoding="utf-8")
    self._run = wandb.init(
      project=os.environ.get("WANDB_PROJECT", "albert_jax"),
      name=os.path.basename(os.path.abspath(workdir)),
      id=read_text(path),
      resume="allow",
      dir=workdir,
      config=dict(config),
      settings=wandb.Settings(silent=True),
    )
    self._run.define_metric("step")
    self._run.define_metric("*", step_metric="step")  # its own counter may not go back, as a resumed run's step does

  def add(self, step: int, split: str, metrics: Mapping[str, float | None]) -> None:
    """Adds a point to the curve of each metric; None is no point."""
    points = {f"{split}/{name}": value for name, value in metrics.items() if value is not None}
    self._run.log({"step": step, **points})

  def close(self) -> None:
    """Sends what is left."""
    self._run.finish()
