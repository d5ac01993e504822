"""Dashboards: programs that show a run's curves. One that fails gets no more points, and the run goes on."""

import importlib.util
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from albert_jax.errors import InputError, unknown
from albert_jax.messages import say


class Dashboard(Protocol):
  """One open dashboard. It may raise anything."""

  def add(self, step: int, split: str, metrics: Mapping[str, float | None]) -> None:
    """Adds a point to the curve of each metric; None is no point."""

  def close(self) -> None:
    """Sends what is left."""


def _open_tensorboard(workdir: str, first_step: int, config: Mapping[str, Any]) -> Dashboard:
  from albert_jax.training.log.tensorboard import TensorBoard  # imports torch, where it is installed: two seconds

  return TensorBoard(workdir, first_step, config)


def _open_wandb(workdir: str, first_step: int, config: Mapping[str, Any]) -> Dashboard:
  from albert_jax.training.log.wandb import WeightsAndBiases

  return WeightsAndBiases(workdir, first_step, config)


# (workdir, step that the run starts from, config by dotted key) → an open dashboard.
DASHBOARDS: dict[str, Callable[[str, int, Mapping[str, Any]], Dashboard]] = {
  "tensorboard": _open_tensorboard,
  "wandb": _open_wandb,
}


class Dashboards:
  """Those of one run.

  Args:
    names: of `DASHBOARDS`, with commas; "" = none.
    workdir: of the run.
    first_step: the step that the run starts from; what an earlier, killed run sent beyond it comes again.
    config: the run's, by dotted key.

  Raises:
    InputError: a name is unknown, or its package is not installed.
  """

  def __init__(self, names: str, workdir: str, *, first_step: int, config: Mapping[str, Any]):
    asked = [name.strip() for name in names.split(",") if name.strip()]
    for name in asked:
      if name not in DASHBOARDS:
        raise unknown("dashboard in train.log_to", name, DASHBOARDS)
    if "wandb" in asked and importlib.util.find_spec("wandb") is None:
      raise InputError("train.log_to=wandb needs Weights & Biases: pip install wandb")
    self._open: dict[str, Dashboard] = {}
    for name in asked:
      self._guard(name, lambda name=name: self._open.update({name: DASHBOARDS[name](workdir, first_step, config)}))

  def add(self, step: int, split: str, metrics: Mapping[str, float | None]) -> None:
    """Adds a point to the curve of each metric; None is no point."""
    for name, dashboard in list(self._open.items()):
      self._guard(name, lambda dashboard=dashboard: dashboard.add(step, split, metrics))

  def close(self) -> None:
    """Closes all."""
    for name, dashboard in list(self._open.items()):
      self._guard(name, dashboard.close)
    self._open.clear()

  def _guard(self, name: str, call: Callable[[], None]) -> None:
    try:
      call()
    except Exception as error:  # a service may be away, a disk full, a login missing: none of it is the run's concern
      self._open.pop(name, None)
      reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
      say(f"warning: {name} gets no more points: {reason.splitlines()[0]}")
