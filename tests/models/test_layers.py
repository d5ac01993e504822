import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from albert_jax.models.layers import Dense, LayerNorm, activation
from albert_jax.models.param import INIT_STDDEV


def test_layer_norm_keeps_its_precision_at_large_means():
  x = 1e4 + np.random.default_rng(0).normal(size=(5, 64))
  expected = (x - x.mean(-1, keepdims=True)) / x.std(-1, keepdims=True)
  np.testing.assert_allclose(LayerNorm(64, "D")(jnp.asarray(x, jnp.float32)), expected, atol=5e-3)


def test_layer_norm_scales_and_shifts():
  norm = LayerNorm(4, "D")
  norm.scale[...], norm.bias[...] = jnp.arange(1.0, 5), jnp.arange(4.0)
  x = np.array([[1.0, 2, 3, 6]], "f4")
  expected = (x - x.mean()) / x.std() * np.arange(1, 5) + np.arange(4)
  np.testing.assert_allclose(norm(jnp.asarray(x)), expected, rtol=1e-5)


@pytest.mark.parametrize(("inputs", "outputs"), [((6,), (2, 3)), ((2, 3), (6,)), ((6,), (5,))])
def test_dense_contracts_the_trailing_dims(inputs, outputs):
  dense = Dense(inputs, outputs, "ABC"[: len(inputs + outputs)], rngs=nnx.Rngs(0))
  dense.bias[...] = jnp.ones(outputs)
  x = np.random.default_rng(0).normal(size=(4, 7, *inputs)).astype("f4")
  expected = np.tensordot(x, np.asarray(dense.kernel[...]), len(inputs)) + 1
  np.testing.assert_allclose(dense(jnp.asarray(x)), expected, rtol=1e-4, atol=1e-6)


def test_initialisation_is_a_normal_cut_at_two_deviations():
  kernel = np.asarray(Dense((300,), (300,), "DF", rngs=nnx.Rngs(0)).kernel[...])
  assert np.abs(kernel).max() <= 2 * INIT_STDDEV
  assert kernel.std() == pytest.approx(INIT_STDDEV * 0.8796, rel=0.01)  # what the cut leaves of the deviation
  assert not np.allclose(kernel, Dense((300,), (300,), "DF", rngs=nnx.Rngs(1)).kernel[...])


def test_activations():
  x = jnp.linspace(-3, 3, 7)
  erf = x * 0.5 * (1 + jax.scipy.special.erf(x / np.sqrt(2)))
  tanh = 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
  np.testing.assert_allclose(activation("gelu", x), erf, atol=1e-6)
  np.testing.assert_allclose(activation("gelu_tanh", x), tanh, atol=1e-6)
  np.testing.assert_allclose(activation("relu", x), np.maximum(x, 0))
  assert np.abs(activation("gelu", x) - activation("gelu_tanh", x)).max() > 1e-5


def test_gelu_of_bfloat16_keeps_its_tail():
  """1 + erf cancels: added up in bfloat16 it would be 0 from x = -2.5 on."""
  x = jnp.asarray([-3.5, -3, -2.5, -2, 2], jnp.bfloat16)
  full = np.asarray(x, np.float64)
  expected = [0.5 * value * math.erfc(-value / math.sqrt(2)) for value in full]
  found = activation("gelu", x)
  assert found.dtype == jnp.bfloat16
  np.testing.assert_allclose(np.asarray(found, np.float64), expected, rtol=1 / 128)
