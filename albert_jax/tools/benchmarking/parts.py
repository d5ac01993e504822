"""Where the time of a train step goes, found by timing jitted pieces of it."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from albert_jax.models import heads
from albert_jax.models.encoder import make_encoder
from albert_jax.models.param import abstract_module
from albert_jax.tools.benchmarking.timing import medians
from albert_jax.training.program import Program
from albert_jax.training.step import make_gradient
from albert_jax.training.task import Batch

HOW = """\
encoder: its forward pass, and its gradient for a fixed random gradient of the output; heads and losses: the gradient of
the loss less that of the encoder; optimizer: the whole step less the gradient of the loss (clip, moments, update and
the guard). A piece that is compiled alone may cost a little more or less than inside the step, and clocks vary: a small
part can come out below zero."""


def time_parts(program: Program, batch: Batch, *, runs: int) -> dict[str, Any]:
  """Median seconds of each part; the pieces take turns, since a part is the difference between two of them.

  Returns:
    `encoder_forward`, `encoder_backward`, `heads`, `optimizer`, whose sum is `step`; `forward` and `backward`, of
    encoder and heads together; and `how` they were found.
  """
  state = program.init(program.config.seed)

  def step():
    nonlocal state
    state = jax.block_until_ready(program.train_step(state, batch, program.hyper)[0])

  def call(piece, *more):
    compiled = jax.jit(program.placed(piece))
    return lambda: jax.block_until_ready(compiled(state, batch, *more))

  calls = {name: call(*piece) for name, piece in _pieces(program, batch).items()}
  seconds = medians(calls | {"step": step}, runs)
  return {
    "encoder_forward": seconds["encoder_forward"],
    "encoder_backward": seconds["encoder_gradient"] - seconds["encoder_forward"],
    "heads": seconds["gradient"] - seconds["encoder_gradient"],
    "optimizer": seconds["step"] - seconds["gradient"],
    "step": seconds["step"],
    "forward": seconds["forward"],
    "backward": seconds["gradient"] - seconds["forward"],
    "how": HOW,
  }


def _pieces(program: Program, batch: Batch) -> dict[str, tuple]:
  """Functions of state and batch, and what else they are called with."""
  task = program.task
  graph = abstract_module(lambda rngs: make_encoder(task.encoder, rngs=rngs))
  rng = program.hyper.rng
  shape = (*batch["tokens"].shape, task.encoder.width)
  weights_BTD = jax.device_put(jax.random.normal(rng, shape, task.encoder.dtype), program.batch_sharding)

  def encode(encoder, batch):
    return heads.encode(nnx.merge(graph, encoder), batch, rng)

  def encoder_loss(encoder, batch, weights_BTD):
    return jnp.sum(encode(encoder, batch) * weights_BTD, dtype=jnp.float32)

  def encoder_gradient(state, batch, weights_BTD):
    return jax.grad(encoder_loss)(state.params["encoder"], batch, weights_BTD)

  def forward(state, batch):
    terms, _ = task.forward(state.params, batch, rng)
    return [terms[name] for name in task.losses]

  return {
    "encoder_forward": (lambda state, batch: encode(state.params["encoder"], batch),),
    "encoder_gradient": (encoder_gradient, weights_BTD),
    "forward": (forward,),
    "gradient": (make_gradient(task, microbatches=program.config.train.microbatches), program.hyper),
  }
