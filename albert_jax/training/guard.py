"""Which steps are taken and which are skipped, decided on the devices.

A step is skipped where its loss or gradient is not finite, or its loss is a spike: parameters and optimizer stay as
they are, bit for bit, and the step counts, so that its batch is not drawn again. After too many consecutive skipped
steps all later ones are skipped, too: the state cannot change before the host reads of it and ends the run.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

# Steps that the running mean of the loss remembers; before as many were taken, no loss is a spike.
MEMORY = 50


@dataclasses.dataclass(frozen=True)
class GuardSettings:
  """The part of the config's `train` that it reads.

  Attributes:
    max_bad_steps: number of consecutive skipped steps after which the run ends.
    spike_factor: a loss of more than this times its running mean is a spike; 0 = none is.
  """

  max_bad_steps: int = 10
  spike_factor: float = 0.0


class Guard(NamedTuple):
  """The guard's part of the train state; the defaults are those of step 0."""

  skipped: jax.Array | np.ndarray = np.zeros([], np.int32)  # in all
  in_a_row: jax.Array | np.ndarray = np.zeros([], np.int32)  # consecutive ones up to now
  mean_loss: jax.Array | np.ndarray = np.zeros([], np.float32)  # running mean of those taken


def should_apply(
  settings: GuardSettings, guard: Guard, taken: jax.Array, loss: jax.Array, grad_norm: jax.Array
) -> tuple[jax.Array, Guard]:
  """Whether to take a step.

  Args:
    settings: the rules.
    guard: what is known before the step.
    taken: how many steps were taken before it.
    loss: of the whole batch.
    grad_norm: of the whole gradient.

  Returns:
    A boolean, and what is known after the step.
  """
  is_good = jnp.isfinite(loss) & jnp.isfinite(grad_norm) & (guard.in_a_row < settings.max_bad_steps)
  if settings.spike_factor:
    is_good &= (taken < MEMORY) | (loss <= settings.spike_factor * guard.mean_loss)
  mean_loss = guard.mean_loss + (loss - guard.mean_loss) / jnp.minimum(taken + 1, MEMORY)
  after_good = Guard(guard.skipped, jnp.zeros_like(guard.in_a_row), mean_loss)
  after_bad = Guard(guard.skipped + 1, guard.in_a_row + 1, guard.mean_loss)
  return is_good, _select(is_good, after_good, after_bad)


def apply_if(condition: jax.Array, update: Callable[..., Any], state: Any, *inputs: Any, branch: bool) -> Any:
  """update(state, *inputs) where the condition holds, else the state as it was.

  `branch` is for CPUs, where XLA would copy the old state in order to choose between the two (4% of a small model's
  step). Elsewhere the choice is cheaper: a branch separates the optimizer from the rest of the program, which costs up
  to 5% of a step by the TPU compiler's cycles, and a GPU waits for the host at it.
  """
  if branch:
    return jax.lax.cond(condition, update, lambda state, *_: state, state, *inputs)
  return _select(condition, update(state, *inputs), state)


def _select(condition: jax.Array, if_true: Any, if_false: Any) -> Any:
  return jax.tree.map(lambda a, b: jnp.where(condition, a, b), if_true, if_false)
