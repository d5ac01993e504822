"""Terms that several tasks report: (sum, weight) pairs by name."""

import math

import jax
import jax.numpy as jnp

from albert_jax.training.task import Batch, Terms


def fill(batch: Batch) -> Terms:
  """`fill`, the share of positions that are not padding, in the rows that are not empty."""
  is_real = batch["example_ids"] > 0
  rows = jnp.sum(jnp.any(is_real, axis=tuple(range(1, is_real.ndim))), dtype=jnp.float32)
  return {"fill": (jnp.sum(is_real, dtype=jnp.float32), rows * math.prod(is_real.shape[1:]))}


def cross_entropy(logits: jax.Array, labels: jax.Array, weights: jax.Array, prefix: str = "") -> Terms:
  """`loss` and `accuracy` of float32 logits [..., C] for labels [...]; their names begin with the prefix."""
  losses, largest = _negative_log_likelihood(logits, labels)
  # The loss needs the largest logit, too; an argmax would be one more pass over all of them, and on CPUs a slow one.
  correct = _pick(logits, labels) >= largest
  total = jnp.sum(weights)
  terms = {"loss": (jnp.sum(losses * weights), total), "accuracy": (jnp.sum(correct * weights), total)}
  return {prefix + name: pair for name, pair in terms.items()}


@jax.custom_vjp
def _negative_log_likelihood(logits: jax.Array, labels: jax.Array) -> tuple[jax.Array, jax.Array]:
  """The loss of each row of logits [..., C], and its largest logit, which is no function to be differentiated.

  The gradient is written out, softmax minus one at the label: that of picking the label's logit would be a scatter.
  """
  return _forward(logits, labels)[0]


def _forward(logits, labels):
  largest = jnp.max(logits, axis=-1)
  log_normaliser = jnp.log(jnp.sum(jnp.exp(logits - largest[..., None]), axis=-1)) + largest
  return (log_normaliser - _pick(logits, labels), largest), (logits, labels, log_normaliser)


def _backward(residuals, gradients):
  logits, labels, log_normaliser = residuals
  is_label = jax.lax.broadcasted_iota(labels.dtype, logits.shape, logits.ndim - 1) == labels[..., None]
  return (jnp.exp(logits - log_normaliser[..., None]) - is_label) * gradients[0][..., None], None


_negative_log_likelihood.defvjp(_forward, _backward)


def _pick(logits: jax.Array, labels: jax.Array) -> jax.Array:
  return jnp.take_along_axis(logits, labels[..., None], axis=-1)[..., 0]


def squared_error(predictions: jax.Array, labels: jax.Array, weights: jax.Array) -> Terms:
  """`loss`, the mean squared error."""
  return {"loss": (jnp.sum(jnp.square(predictions - labels) * weights), jnp.sum(weights))}
