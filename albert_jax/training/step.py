"""The train step and the evaluation step: pure functions of (state, batch)."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from albert_jax.errors import Diverged
from albert_jax.training.guard import Guard, GuardSettings, apply_if, should_apply
from albert_jax.training.task import Batch, Outputs, Task, Terms


class TrainState(NamedTuple):
  """All that training carries from step to step, and all that a checkpoint holds."""

  step: jax.Array  # int32, the number of steps done
  params: Any  # nested dict of float32 arrays
  opt: Any  # Optax's state
  guard: Guard = Guard()  # of the skipped steps


class Hyper(NamedTuple):
  """Settings in which runs of one compiled step may differ: its arguments, not parts of it.

  Attributes:
    learning_rate: the peak; the schedule scales it.
    rng: key of the run's dropout.
  """

  learning_rate: jax.Array
  rng: jax.Array


def init_state(task: Task, optimizer: optax.GradientTransformation, rng: jax.Array) -> TrainState:
  """A state at step 0."""
  params = task.init(rng)
  return TrainState(jnp.zeros([], jnp.int32), params, optimizer.init(params), jax.tree.map(jnp.asarray, Guard()))


def make_gradient(
  task: Task,
  *,
  microbatches: int,
  place_batch: Callable[[Batch], Batch] = lambda batch: batch,
) -> Callable[[TrainState, Batch, Hyper], tuple[Any, Terms, jax.Array]]:
  """Builds (state, batch, hyper) → (gradient, terms, loss).

  The dropout key is that of `hyper` and the step's number, so that no generator's state needs saving.

  Args:
    task: gives the loss.
    microbatches: the batch is worked through in this many parts, at the memory of one; the gradient is that of the
      whole, since each part's loss is divided by the weight of the whole batch.
    place_batch: constrains a microbatch to its sharding.
  """

  def gradient(state: TrainState, batch: Batch, hyper: Hyper) -> tuple[Any, Terms, jax.Array]:
    rng = jax.random.fold_in(hyper.rng, state.step)
    weights = jax.tree.map(lambda weight: jnp.maximum(weight, 1), task.loss_weights(batch))

    def total(terms: Terms) -> jax.Array:
      return sum(terms[name][0] / weights[name] for name in task.losses)

    def loss(params, part: Batch, part_rng):
      terms, _ = task.forward(params, part, part_rng)
      return total(terms), terms

    def part_gradient(index, part: Batch):
      return jax.grad(loss, has_aux=True)(state.params, place_batch(part), jax.random.fold_in(rng, index))

    if microbatches == 1:
      gradients, terms = part_gradient(0, batch)
    else:
      gradients, terms = _accumulate(part_gradient, _split(batch, microbatches))
    return gradients, terms, total(terms)

  return gradient


def make_train_step(
  task: Task,
  optimizer: optax.GradientTransformation,
  schedule: optax.Schedule,
  *,
  guard: GuardSettings,
  microbatches: int,
  branch: bool,
  place_batch: Callable[[Batch], Batch] = lambda batch: batch,
) -> Callable[[TrainState, Batch, Hyper], tuple[TrainState, Terms]]:
  """Builds the step (state, batch, hyper) → (state, terms).

  The term `skipped_steps` is 1 where the guard skips the step; the other terms then hold the non-finite values.

  Args:
    task: gives the loss.
    optimizer: gives the update.
    schedule: the learning rate as a fraction of its peak, to report it.
    guard: the rules for skipping.
    microbatches: as for `make_gradient`.
    branch: as for `apply_if`.
    place_batch: as for `make_gradient`.
  """
  gradient = make_gradient(task, microbatches=microbatches, place_batch=place_batch)
  optimizer = optax.with_extra_args_support(optimizer)

  def update(params_and_opt: tuple[Any, Any], gradients: Any, learning_rate: jax.Array) -> tuple[Any, Any]:
    params, opt = params_and_opt
    updates, opt = optimizer.update(gradients, opt, params, learning_rate=learning_rate)
    return optax.apply_updates(params, updates), opt

  def train_step(state: TrainState, batch: Batch, hyper: Hyper) -> tuple[TrainState, Terms]:
    gradients, terms, loss = gradient(state, batch, hyper)
    grad_norm = optax.tree.norm(gradients)
    taken = state.step - state.guard.skipped  # what the optimizer counts, too
    is_good, after = should_apply(guard, state.guard, taken, loss, grad_norm)
    before = (state.params, state.opt)
    params, opt = apply_if(is_good, update, before, gradients, hyper.learning_rate, branch=branch)
    one = jnp.ones([], jnp.float32)
    terms["grad_norm"] = (grad_norm, one)
    terms["learning_rate"] = (hyper.learning_rate * schedule(taken), one)
    terms["skipped_steps"] = (1 - is_good.astype(jnp.float32), one)
    return TrainState(state.step + 1, params, opt, after), terms

  return train_step


def make_eval_step(task: Task) -> Callable[[Any, Batch], tuple[Terms, Outputs]]:
  """Builds (params, batch) → (terms, outputs), without dropout."""
  return lambda params, batch: task.forward(params, batch, None)


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


def check_finite(params: Any, step: int, saved: int) -> None:
  """Raises Diverged if a parameter is not finite: such a state is never saved."""
  if bool(_all_finite(params)):
    return
  raise Diverged(
    f"The parameters are not finite after step {step}, and are not saved; the newest checkpoint is of step {saved}. "
    "A lower optimizer.learning_rate or optimizer.weight_decay may train on from there."
  )


@jax.jit
def _all_finite(params: Any) -> jax.Array:
  return jnp.all(jnp.array([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(params)]))
