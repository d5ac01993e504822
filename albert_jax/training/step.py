"""The train step and the evaluation step: pure functions of (state, batch)."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import optax

Batch = dict[str, jax.Array]
# A metric's sum over a batch and the weight it is to be divided by. Only the end divides, so that microbatches, shards
# and processes agree with one whole batch.
Terms = dict[str, tuple[jax.Array, jax.Array]]


class TrainState(NamedTuple):
  """All that training carries from step to step, and all that a checkpoint holds."""

  step: jax.Array  # int32, the number of steps done
  params: Any  # nested dict of float32 arrays
  opt: Any  # Optax's state


class Trainable(Protocol):
  """What the loop needs of a task.

  Attributes:
    losses: names of the terms whose means add up to the loss.
  """

  losses: tuple[str, ...]

  def init(self, rng: jax.Array) -> Any:
    """New parameters, a nested dict of float32 arrays."""

  def terms(self, params: Any, batch: Batch, rng: jax.Array | None) -> Terms:
    """Losses and metrics of a batch as (sum, weight) pairs; no rng means no dropout."""

  def loss_weights(self, batch: Batch) -> dict[str, jax.Array]:
    """The weights that `terms` gives the losses, from the batch alone."""

  def metrics(self, means: dict[str, float]) -> dict[str, float]:
    """What a person is told, from the means of the terms; holds at least `loss`."""

  def batch_specs(self, rows: int) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes and dtypes of a training batch."""

  def flops_per_token(self) -> float:
    """Training FLOPs per position of a row."""

  def load_data(self) -> Any:
    """An object with `train` and `evaluations` (by split), rows at random access, and a `fingerprint`."""


def init_state(task: Trainable, optimizer: optax.GradientTransformation, seed: int) -> TrainState:
  """A state at step 0."""
  params = task.init(jax.random.key(seed))
  return TrainState(jnp.zeros([], jnp.int32), params, optimizer.init(params))


def make_train_step(
  task: Trainable,
  optimizer: optax.GradientTransformation,
  schedule: optax.Schedule,
  *,
  microbatches: int,
  seed: int,
  place_batch: Callable[[Batch], Batch] = lambda batch: batch,
) -> Callable[[TrainState, Batch], tuple[TrainState, Terms]]:
  """Builds the step (state, batch) → (state, terms).

  Args:
    task: gives the loss.
    optimizer: gives the update.
    schedule: only to report the learning rate.
    microbatches: the batch is worked through in this many parts, at the memory of one; the update is that of the whole,
      since each part's loss is divided by the weight of the whole batch.
    seed: with the step's number it makes the dropout key, so that no generator's state needs saving.
    place_batch: constrains a microbatch to its sharding.
  """

  def train_step(state: TrainState, batch: Batch) -> tuple[TrainState, Terms]:
    rng = jax.random.fold_in(jax.random.key(seed), state.step)
    weights = jax.tree.map(lambda weight: jnp.maximum(weight, 1), task.loss_weights(batch))

    def loss(params, part: Batch, part_rng):
      terms = task.terms(params, part, part_rng)
      return sum(terms[name][0] / weights[name] for name in task.losses), terms

    def part_gradient(index, part: Batch):
      return jax.grad(loss, has_aux=True)(state.params, place_batch(part), jax.random.fold_in(rng, index))

    if microbatches == 1:
      gradient, terms = part_gradient(0, batch)
    else:
      gradient, terms = _accumulate(part_gradient, _split(batch, microbatches))
    updates, opt = optimizer.update(gradient, state.opt, state.params)
    params = optax.apply_updates(state.params, updates)
    one = jnp.ones([], jnp.float32)
    terms["grad_norm"] = (optax.global_norm(gradient), one)
    terms["learning_rate"] = (schedule(state.step), one)
    return TrainState(state.step + 1, params, opt), terms

  return train_step


def make_eval_step(task: Trainable) -> Callable[[Any, Batch], Terms]:
  """Builds (params, batch) → terms, without dropout."""
  return lambda params, batch: task.terms(params, batch, None)


def _split(batch: Batch, microbatches: int) -> Batch:
  """[B, ...] → [microbatches, B/microbatches, ...], taking every n-th row so that each device keeps rows of its own."""

  def split(array: jax.Array) -> jax.Array:
    return array.reshape(-1, microbatches, *array.shape[1:]).swapaxes(0, 1)

  return jax.tree.map(split, batch)


def _accumulate(part_gradient: Callable, parts: Batch) -> tuple[Any, Terms]:
  """Sums gradients and terms over the leading axis of the parts."""
  count = next(iter(parts.values())).shape[0]
  first = jax.tree.map(lambda array: array[0], parts)
  zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(part_gradient, 0, first))

  def add(total, indexed_part):
    return jax.tree.map(jnp.add, total, part_gradient(*indexed_part)), None

  return jax.lax.scan(add, zeros, (jnp.arange(count), parts))[0]
