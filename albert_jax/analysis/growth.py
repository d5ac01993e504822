"""How large weights are and how far they have moved, one number for each weight group."""

from collections.abc import Mapping

import jax
import numpy as np
from flax.traverse_util import flatten_dict


def norms(params: Mapping, axes: Mapping) -> dict[str, np.ndarray]:
  """The norm of every parameter by its path: [G] where it is stacked by weight group, else [1].

  Args:
    params: a nested dict of arrays.
    axes: what `task.param_axes()` gives.
  """
  flat_axes = flatten_dict(dict(axes), sep="/")
  flat = flatten_dict(jax.device_get(dict(params)), sep="/")
  return {path: _norms(w, flat_axes[path].is_stacked) for path, w in flat.items()}


def relative_change(before: Mapping, after: Mapping, axes: Mapping) -> dict[str, np.ndarray]:
  """‖after − before‖ / ‖before‖ of every parameter, shaped as those of `norms`; infinite for what was 0 and moved."""
  difference = jax.tree.map(lambda a, b: np.asarray(a) - np.asarray(b), jax.device_get(after), jax.device_get(before))
  moved, size = norms(difference, axes), norms(before, axes)
  with np.errstate(divide="ignore", invalid="ignore"):
    return {path: np.where(moved[path] > 0, moved[path] / size[path], 0.0) for path in moved}


def _norms(w: np.ndarray, is_stacked: bool) -> np.ndarray:
  rows = np.asarray(w, np.float64).reshape(len(w) if is_stacked else 1, -1)
  return np.sqrt(np.sum(rows**2, axis=1))
