import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from albert_jax.tasks.losses import cross_entropy


@pytest.fixture
def inputs():
  random = np.random.default_rng(0)
  logits_BMV = jnp.asarray(5 * random.normal(size=(3, 4, 7)), jnp.float32)
  return logits_BMV, random.integers(0, 7, (3, 4)), np.asarray(random.random((3, 4)) > 0.3, np.float32)


def test_loss_accuracy_and_gradient_are_those_of_the_definition(inputs):
  logits, labels, weights = inputs

  def loss(logits):
    total, weight = cross_entropy(logits, labels, weights)["loss"]
    return total / weight

  def expected(logits):
    return jnp.sum(optax.softmax_cross_entropy_with_integer_labels(logits, labels) * weights) / weights.sum()

  np.testing.assert_allclose(loss(logits), expected(logits), rtol=1e-6)
  np.testing.assert_allclose(jax.grad(loss)(logits), jax.grad(expected)(logits), rtol=1e-5, atol=1e-7)
  correct, weight = cross_entropy(logits, labels, weights)["accuracy"]
  assert correct == np.sum((np.argmax(logits, -1) == labels) * weights)
  assert weight == weights.sum()


def test_large_logits_do_not_overflow(inputs):
  logits, labels, weights = inputs
  loss, gradient = jax.value_and_grad(lambda x: cross_entropy(x, labels, weights)["loss"][0])(1e4 * logits)
  assert np.isfinite(loss)
  assert np.isfinite(gradient).all()


def test_the_gradient_has_no_scatter(inputs):
  logits, labels, weights = inputs
  jaxpr = jax.make_jaxpr(jax.grad(lambda x: cross_entropy(x, labels, weights)["loss"][0]))(logits)
  assert "scatter" not in str(jaxpr)


def test_names_take_the_prefix(inputs):
  assert cross_entropy(*inputs, prefix="mlm_").keys() == {"mlm_loss", "mlm_accuracy"}
