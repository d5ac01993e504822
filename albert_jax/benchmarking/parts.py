"""Where the time of a train step goes, found by timing jitted pieces of it."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from albert_jax.benchmarking.timing import median
from albert_jax.models import heads
from albert_jax.models.encoder import Encoder
from albert_jax.training.program import Program
from albert_jax.training.step import make_gradient
from albert_jax.training.task import Batch

HOW = """\
encoder: its forward pass, and its gradient for a fixed random gradient of the output; heads and losses: the gradient of
the loss less that of the encoder; optimizer: the whole step less the gradient of the loss (clip, moments, update and
the guard). A piece that is compiled alone may cost a little more or less than inside the step."""


def time_parts(program: Program, batch: Batch, *, runs: int) -> dict[str, Any]:
  """Median seconds of each part.

  Returns:
    `encoder_forward`, `encoder_backward`, `heads`, `optimizer`, whose sum is `step`; `forward` and `backward`, of
    encoder and heads together; and `how` they were found.
  """
  state = program.init(program.config.seed)
  seconds = {name: median(function, runs) for name, function in _pieces(program, state, batch).items()}
  step = _time_step(program, state, batch, runs)
  return {
    "encoder_forward": seconds["encoder_forward"],
    "encoder_backward": seconds["encoder_gradient"] - seconds["encoder_forward"],
    "heads": seconds["gradient"] - seconds["encoder_gradient"],
    "optimizer": step - seconds["gradient"],
    "step": step,
    "forward": seconds["forward"],
    "backward": seconds["gradient"] - seconds["forward"],
    "how": HOW,
  }


def _pieces(program: Program, state, batch: Batch) -> dict[str, Any]:
  """Functions that run a compiled piece, and wait for it."""
  task, seed = program.task, program.config.seed
  graph = heads.definition(lambda: Encoder(task.encoder, rngs=nnx.Rngs(0)))

  def encode(params, batch, rng):
    return heads.encode(nnx.merge(graph, params["encoder"]), batch, rng)

  def encoder_loss(params, batch, rng, weights_BTD):
    return jnp.sum(encode(params, batch, rng) * weights_BTD, dtype=jnp.float32)

  def loss(params, batch, rng):
    terms, _ = task.forward(params, batch, rng)
    return [terms[name] for name in task.losses]

  rng = jax.random.key(seed)
  shape = (*batch["tokens"].shape, task.encoder.width)
  weights_BTD = jax.device_put(jax.random.normal(rng, shape, task.encoder.dtype), program.batch_sharding)
  gradient = make_gradient(task, microbatches=program.config.train.microbatches, seed=seed)
  encoder = {"encoder": state.params["encoder"]}
  calls = {
    "encoder_forward": (encode, encoder, batch, rng),
    "encoder_gradient": (jax.grad(encoder_loss), encoder, batch, rng, weights_BTD),
    "forward": (loss, state.params, batch, rng),
    "gradient": (gradient, state, batch),
  }
  return {name: _call(program, *call) for name, call in calls.items()}


def _call(program: Program, function, *arguments):
  compiled = jax.jit(program.placed(function))
  return lambda: jax.block_until_ready(compiled(*arguments))


def _time_step(program: Program, state, batch: Batch, runs: int) -> float:
  def step():
    nonlocal state
    state = jax.block_until_ready(program.train_step(state, batch)[0])

  return median(step, runs)
