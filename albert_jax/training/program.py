"""A config, resolved into what a run computes with. Nothing is allocated."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import ml_collections
import optax
from jax.sharding import Mesh, NamedSharding

from albert_jax.config import make_settings
from albert_jax.errors import InputError
from albert_jax.models.attention import select_attention
from albert_jax.models.logical_sharding import use_rules
from albert_jax.optim.optimizer import OptimizerSettings, make_optimizer, make_schedule
from albert_jax.runtime.compilation import compiler_options
from albert_jax.training import sharding, step
from albert_jax.training.guard import GuardSettings
from albert_jax.training.task import Batch, Task


@dataclasses.dataclass(frozen=True)
class Program:
  """A config, resolved.

  Attributes:
    config: the record it was made from.
    task: gives the model, the loss and the data.
    mesh: the devices.
    optimizer: Optax's transformation.
    schedule: learning rate by step, as a fraction of its peak.
    guard: which steps are skipped.
    steps: the length of the training.
    eval_every: steps between two evaluations; 0 = only at the end.
    compiler_options: of the train step.
    state: the train state's shapes, dtypes and shardings.
    batch_sharding: of every field of a batch.
  """

  config: ml_collections.ConfigDict
  task: Task
  mesh: Mesh
  optimizer: optax.GradientTransformation
  schedule: optax.Schedule
  guard: GuardSettings
  steps: int
  eval_every: int
  compiler_options: dict[str, str]
  state: step.TrainState
  batch_sharding: NamedSharding

  @functools.cached_property
  def hyper(self) -> step.Hyper:
    """The arguments that the config gives to the train step: runs that differ in nothing else share one program."""
    return step.Hyper(jnp.float32(self.config.optimizer.learning_rate), jax.random.key(self.config.seed))

  def init(self, seed: int) -> step.TrainState:
    """Initial state, created with its shardings."""
    return self._init(jax.random.key(seed))

  @functools.cached_property
  def _init(self):
    init = functools.partial(step.init_state, self.task, self.optimizer)
    return jax.jit(init, out_shardings=self.shardings)

  @functools.cached_property
  def train_step(self):
    """Jitted: (state, batch, hyper) → (state, terms); the old state's memory is given to the new.

    Raises:
      InputError: `train.batch_size` cannot be split over the mesh and the microbatches.
    """
    train = self.config.train
    sharding.check_batch_size("train.batch_size", train.batch_size, self.mesh, train.microbatches)
    function = step.make_train_step(
      self.task,
      self.optimizer,
      self.schedule,
      guard=self.guard,
      microbatches=train.microbatches,
      branch=self.mesh.devices.flat[0].platform == "cpu",
      place_batch=self.place_batch,
    )
    return jax.jit(
      self.placed(function),
      in_shardings=(self.shardings, self.batch_sharding, sharding.replicated(self.mesh)),
      out_shardings=(self.shardings, sharding.replicated(self.mesh)),
      donate_argnums=0,
      compiler_options=self.compiler_options,
    )

  @functools.cached_property
  def eval_step(self):
    """Jitted: (params, batch) → (terms, outputs)."""
    return jax.jit(
      self.placed(step.make_eval_step(self.task)),
      in_shardings=(self.shardings.params, self.batch_sharding),
      out_shardings=sharding.replicated(self.mesh),
    )

  def place_batch(self, batch: Batch) -> Batch:
    """Constrains a batch, while a function of it is traced, to its sharding."""
    return jax.lax.with_sharding_constraint(batch, self.batch_sharding)

  def placed(self, function):
    """The function, traced with the models' activations placed on the mesh."""

    @functools.wraps(function)
    def placed(*arguments):
      with use_rules(sharding.activation_rules(self.mesh)):
        return function(*arguments)

    return placed

  @property
  def shardings(self) -> step.TrainState:
    """Of the train state."""
    return jax.tree.map(lambda leaf: leaf.sharding, self.state)


def make_program(config: ml_collections.ConfigDict, task: Task, devices=None) -> Program:
  """Checks a config and builds what it describes.

  Args:
    config: a record from `configs/`.
    task: what `config.task` names, from `tasks.make_task`.
    devices: all by default.

  Raises:
    InputError: a value does not fit; nothing has been compiled or allocated.
  """
  mesh = sharding.make_mesh(config.mesh, devices)
  _check_attention(task, mesh)
  settings = make_settings(OptimizerSettings, config.optimizer)
  guard = make_settings(GuardSettings, config.train)
  steps, eval_every = _durations(config, task)
  schedule = make_schedule(settings, steps)
  params = jax.eval_shape(task.init, jax.random.key(0))
  axes = task.param_axes()
  optimizer = make_optimizer(settings, schedule, params, axes, task.encoder.tables)
  state = jax.eval_shape(lambda: step.init_state(task, optimizer, jax.random.key(0)))
  state = jax.tree.map(
    lambda leaf, place: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place),
    state,
    sharding.state_shardings(state, axes, mesh),
  )
  rows = sharding.batch_sharding(mesh)
  train, platform = config.train, mesh.devices.flat[0].platform
  options = compiler_options(platform, deterministic=train.deterministic, more=train.compiler_options)
  return Program(config, task, mesh, optimizer, schedule, guard, steps, eval_every, options, state, rows)


def _durations(config: ml_collections.ConfigDict, task: Task) -> tuple[int, int]:
  """Steps in all and between evaluations; where the config counts in epochs, the data says how long one is."""
  steps, every = config.train.steps, config.eval.every
  by_epoch = {"steps": config.train.epochs, "every": config.eval.epochs}
  if not steps and not by_epoch["steps"]:
    raise InputError("train.steps must be at least 1, got 0; or give train.epochs.")
  if (by_epoch["steps"] and not steps) or (by_epoch["every"] and not every):
    epoch = task.load_data().train.num_rows / config.train.batch_size
    steps = steps or max(1, round(by_epoch["steps"] * epoch))
    every = every or math.ceil(by_epoch["every"] * epoch)
  return steps, every


def _check_attention(task: Task, mesh: Mesh) -> None:
  """Tracing would find the same, but only once the data have been prepared."""
  encoder = task.encoder
  select_attention(
    encoder.attention,
    platform=mesh.devices.flat[0].platform,
    dtype=encoder.dtype,
    length=task.batch_specs(1)["tokens"].shape[-1],
    head_dim=encoder.head_dim,
    has_dropout=encoder.attention_dropout > 0,
  )
