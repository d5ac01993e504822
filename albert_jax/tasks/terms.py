"""Terms that several tasks report: (sum, weight) pairs by name."""

import jax
import jax.numpy as jnp

from albert_jax.training.task import Batch, Terms


def fill(batch: Batch) -> Terms:
  """`fill`, the share of positions that are not padding."""
  return {"fill": (jnp.sum(batch["examples"] > 0, dtype=jnp.float32), jnp.float32(batch["examples"].size))}


def cross_entropy(logits: jax.Array, labels: jax.Array, weights: jax.Array) -> Terms:
  """`loss` and `accuracy` of float32 logits [..., C] for labels [...]."""
  picked = jnp.take_along_axis(logits, labels[..., None], axis=-1)[..., 0]
  losses = jax.nn.logsumexp(logits, axis=-1) - picked
  correct = jnp.argmax(logits, axis=-1) == labels
  total = jnp.sum(weights)
  return {"loss": (jnp.sum(losses * weights), total), "accuracy": (jnp.sum(correct * weights), total)}


def squared_error(predictions: jax.Array, labels: jax.Array, weights: jax.Array) -> Terms:
  """`loss`, the mean squared error."""
  return {"loss": (jnp.sum(jnp.square(predictions - labels) * weights), jnp.sum(weights))}
