"""LAMB and AdamW as BERT and ALBERT were trained with them, and the learning-rate schedules.

What differs from Optax's own: no bias correction by default, biases and LayerNorms neither decayed nor adapted, and one
trust ratio per weight group of a stacked parameter instead of one per leaf.
"""

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from albert_jax.errors import InputError
from albert_jax.models.param import Axes
from albert_jax.models.sharing import Table
from albert_jax.optim import layerwise


@dataclasses.dataclass(frozen=True)
class OptimizerSettings:
  """The config's `optimizer`.

  Attributes:
    name: "lamb" or "adamw".
    learning_rate: the peak.
    warmup_steps: steps of linear warm-up from 0.
    warmup_fraction: the same as a part of all steps, where `warmup_steps` is 0.
    schedule: "linear" (BERT's: the decay counts from step 0), "cosine" or "constant".
    floor: the rate at the end, as a fraction of the peak.
    beta1: decay of the first moment.
    beta2: decay of the second moment.
    epsilon: added to the root of the second moment.
    weight_decay: decoupled, scaled by the learning rate.
    clip_norm: global norm of the gradient at most; 0 = no clip.
    bias_correction: Adam's correction of the moments; the published recipes have none.
    layer_decay: each layer's rate as a fraction of that of the layer above, see `depth`; 1 = all alike.
    frozen_layers: the lowest layers, and the embeddings, stay as they are; 0 = everything is trained.
  """

  name: str = "lamb"
  learning_rate: float = 1.76e-3
  warmup_steps: int = 3125
  warmup_fraction: float = 0.0
  schedule: str = "linear"
  floor: float = 0.0
  beta1: float = 0.9
  beta2: float = 0.999
  epsilon: float = 1e-6
  weight_decay: float = 0.01
  clip_norm: float = 1.0
  bias_correction: bool = False
  layer_decay: float = 1.0
  frozen_layers: int = 0


def make_schedule(settings: OptimizerSettings, steps: int) -> optax.Schedule:
  """The learning rate of each step as a fraction of its peak, as a function of the step's number.

  As in BERT's released code, the linear decay runs from the peak at step 0 to the floor at step `steps`, and warm-up
  replaces its beginning: the rate is 0 in step 0 and a little under the peak when warm-up ends. Cosine does the same.

  Raises:
    InputError: warm-up is longer than the training.
  """
  warmup_steps = settings.warmup_steps or round(settings.warmup_fraction * steps)
  if warmup_steps > steps:
    raise InputError(f"optimizer.warmup_steps {warmup_steps} is more than train.steps {steps}.")
  floor = settings.floor

  def schedule(step):
    step = jnp.asarray(step, jnp.float32)
    done = jnp.clip(step / steps, 0, 1)
    shape = {
      "linear": floor + (1 - floor) * (1 - done),
      "cosine": floor + (1 - floor) * 0.5 * (1 + jnp.cos(jnp.pi * done)),
      "constant": jnp.ones_like(done),
    }[settings.schedule]
    warmup = step / max(warmup_steps, 1)
    return jnp.where(step < warmup_steps, warmup, shape)

  return schedule


def make_optimizer(
  settings: OptimizerSettings, schedule: optax.Schedule, params, axes, tables: Mapping[str, Table]
) -> optax.GradientTransformation:
  """Builds clip → moments → decay → (LAMB) trust ratio → learning rate, by depth where that is asked for.

  Args:
    settings: the config's `optimizer`.
    schedule: see `make_schedule`. The peak is the argument `learning_rate` of the result's `update`.
    params: the parameters or their shapes.
    axes: their `Axes`: which are vectors, and which are stacked by weight group.
    tables: the encoder's sharing tables: they tell a weight group's depth.
  """
  matrices = jax.tree.map(lambda declared: not declared.is_vector, axes)
  chain = [
    optax.clip_by_global_norm(settings.clip_norm) if settings.clip_norm else optax.identity(),
    scale_by_moments(settings.beta1, settings.beta2, settings.epsilon, settings.bias_correction),
    optax.add_decayed_weights(settings.weight_decay, mask=matrices),
  ]
  if settings.name == "lamb":
    chain.append(scale_by_group_trust_ratio(axes))
  if settings.layer_decay != 1 or settings.frozen_layers:
    factors = layerwise.depth_factors(params, tables, settings.layer_decay, settings.frozen_layers)
    chain.append(layerwise.scale_by_tree(factors))
    # The gradient of what is frozen must not count in the clip.
    chain.insert(0, layerwise.scale_by_tree(jax.tree.map(np.sign, factors)))
  return optax.chain(*chain, descend(schedule))


def descend(schedule: optax.Schedule) -> optax.GradientTransformationExtraArgs:
  """Multiplies updates by −(learning rate): the argument `learning_rate`, the peak, times the schedule's fraction.

  As `optax.scale_by_learning_rate`, whose state it has, but for the peak: that is no part of the compiled program.
  """

  def update(updates, state, params=None, *, learning_rate, **more):
    del params, more
    step = -(learning_rate * schedule(state.count))
    scaled = jax.tree.map(lambda update: jnp.asarray(step, update.dtype) * update, updates)
    return scaled, optax.ScaleByScheduleState(optax.safe_increment(state.count))

  return optax.GradientTransformationExtraArgs(lambda _: optax.ScaleByScheduleState(jnp.zeros([], jnp.int32)), update)


class MomentsState(NamedTuple):
  """Running means of the gradient and of its square, and the number of updates."""

  count: jax.Array
  mu: optax.Updates
  nu: optax.Updates


def scale_by_moments(beta1: float, beta2: float, epsilon: float, bias_correction: bool) -> optax.GradientTransformation:
  """Adam's direction, m / (√v + ε) (arXiv 1412.6980, algorithm 1; BERT's code has no bias correction)."""

  def init(params):
    zeros = optax.tree.zeros_like(params)
    return MomentsState(jnp.zeros([], jnp.int32), zeros, jax.tree.map(jnp.copy, zeros))

  def update(gradients, state, params=None):
    del params
    count = state.count + 1
    mu = jax.tree.map(lambda m, g: beta1 * m + (1 - beta1) * g, state.mu, gradients)
    nu = jax.tree.map(lambda v, g: beta2 * v + (1 - beta2) * jnp.square(g), state.nu, gradients)
    scale1 = 1 - beta1**count if bias_correction else 1.0
    scale2 = 1 - beta2**count if bias_correction else 1.0
    updates = jax.tree.map(lambda m, v: (m / scale1) / (jnp.sqrt(v / scale2) + epsilon), mu, nu)
    return updates, MomentsState(count, mu, nu)

  return optax.GradientTransformation(init, update)


def scale_by_group_trust_ratio(axes) -> optax.GradientTransformation:
  """Scales each update by ‖w‖/‖update‖, 1 where either is 0 (LAMB, arXiv 1904.00962, algorithm 2).

  Args:
    axes: tree of `Axes`; a stacked parameter has one ratio per group, any other has one, and vectors pass unscaled.
  """

  def scale(update, w, declared: Axes):
    if declared.is_vector:
      return update
    dims = tuple(range(1 if declared.is_stacked else 0, w.ndim))
    w_norm = jnp.sqrt(jnp.sum(jnp.square(w), dims, keepdims=True))
    update_norm = jnp.sqrt(jnp.sum(jnp.square(update), dims, keepdims=True))
    defined = (w_norm > 0) & (update_norm > 0)
    return update * jnp.where(defined, w_norm / jnp.where(defined, update_norm, 1), 1)

  def update(updates, state, params):
    return jax.tree.map(scale, updates, params, axes), state

  return optax.GradientTransformation(lambda params: optax.EmptyState(), update)
