"""Extreme inputs: errors stay within stated bounds, and nothing becomes NaN."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from albert_jax.errors import InputError
from albert_jax.models.attention import attend
from albert_jax.models.heads import MaskedLMHead
from albert_jax.models.layers import Attention, LayerNorm
from albert_jax.models.sizes import EncoderConfig
from albert_jax.tasks import make_task
from albert_jax.tasks.settings import compute_dtype
from configs import albert_tiny
from tests.builders import make_batch, override


@pytest.fixture
def config():
  """A model without dropout, of two layers that differ."""
  values = {"model.vocab_size": 64, "model.layers": 2, "model.layer_loop": "scan", "model.sharing.attn": "none"}
  return override(albert_tiny.get_config("test"), values)


def loss_and_gradient(config, batch):
  """The loss as the train step has it, and its gradient, a dict of arrays by path."""
  task = make_task(config)
  weights = {name: jnp.maximum(weight, 1) for name, weight in task.loss_weights(batch).items()}

  @jax.jit
  @jax.value_and_grad
  def function(params):
    terms, _ = task.forward(params, batch, None)
    return sum(terms[name][0] / weights[name] for name in task.losses)

  loss, gradient = function(task.init(jax.random.key(0)))
  return float(loss), {jax.tree_util.keystr(k): np.asarray(v) for k, v in jax.tree_util.tree_leaves_with_path(gradient)}


def norm(gradient) -> float:
  return float(np.sqrt(sum(np.square(leaf).sum() for leaf in gradient.values())))


def test_bfloat16_is_close_to_float32(config):
  """bfloat16 has 8 bits: one rounding is off by 0.4 % at most. Loss within 0.5 %, gradient within 5 % of its norm."""
  batch = make_batch(config, 0)
  loss, gradient = loss_and_gradient(override(config, {"model.dtype": "float32"}), batch)
  half_loss, half = loss_and_gradient(override(config, {"model.dtype": "bfloat16"}), batch)
  assert half_loss == pytest.approx(loss, rel=5e-3)
  assert all(leaf.dtype == np.float32 for leaf in half.values())
  assert norm({name: half[name] - leaf for name, leaf in gradient.items()}) < 0.05 * norm(gradient)


@pytest.mark.parametrize("mean", [0.0, 1e4, -1e6])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_layer_norm_of_large_means(mean, dtype):
  """Against float64 on the same, rounded inputs: the error is that of the mean, a few of its last places."""
  x_BD = jnp.asarray(mean + 10 * max(1, abs(mean) / 1e4) * np.random.default_rng(0).normal(size=(4, 768)), dtype)
  full = np.asarray(x_BD, np.float64)
  expected = (full - full.mean(-1, keepdims=True)) / full.std(-1, keepdims=True)
  np.testing.assert_allclose(np.asarray(LayerNorm(768, "D")(x_BD), np.float64), expected, atol=1e-3, rtol=1 / 256)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e4, 1e18])
def test_layer_norm_of_a_constant_row_is_finite(value):
  norm, x_BD = LayerNorm(768, "D"), jnp.full([2, 768], value)
  gradient = jax.grad(lambda x: jnp.sum(jnp.square(norm(x))))(x_BD)
  assert np.abs(norm(x_BD)).max() <= 1.001  # 0, but for the rounding of the mean
  assert np.isfinite(gradient).all()


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_attention_of_huge_scores_picks_one(dtype):
  """Scores beyond e^88 overflow without the maximum being taken off first."""
  config = EncoderConfig(vocab_size=4, embedding=8, width=8, layers=1, heads=1, ffn=8, attn_table=(0,), ffn_table=(0,))
  attention = Attention(config, rngs=nnx.Rngs(0))
  for part in (attention.query, attention.key, attention.value, attention.output):
    part.kernel = nnx.Param(jnp.eye(8).reshape(part.kernel.shape[1:]))
    part.bias = nnx.Param(part.bias[0])
  x_BTD = 1e4 * jnp.eye(8, dtype=dtype)[None]
  rows = dict(example_ids_BT=jnp.ones([1, 8], jnp.int32), packed=False, implementation="xla", dropout_rate=0)
  attend_rows = functools.partial(attend, **rows)
  out_BTD, gradient_BTD = jax.value_and_grad(lambda x: jnp.sum(attention(x, attend_rows, None)[..., 0]))(x_BTD)
  assert np.isfinite(out_BTD)
  assert np.isfinite(gradient_BTD.astype(jnp.float32)).all()
  np.testing.assert_allclose(attention(x_BTD, attend_rows, None)[0, 0].astype("f4"), attention.norm(2 * x_BTD)[0, 0])


def one_token(batch):
  batch["example_ids"][0, 1:] = batch["mlm_positions"][0] = batch["cls_positions"][0] = 0


def all_padding(batch):
  for name in batch:
    batch[name][0] = 0


def no_prediction(batch):
  batch["mlm_weights"][:] = batch["pair_weights"][:] = 0


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("change", [one_token, all_padding, no_prediction])
def test_rows_at_the_limits_are_finite(config, change, dtype):
  batch = make_batch(config, 0)
  change(batch)
  loss, gradient = loss_and_gradient(override(config, {"model.dtype": dtype}), batch)
  assert all(np.isfinite(leaf).all() for leaf in gradient.values())
  assert np.isfinite(loss)
  assert (loss == 0) == (norm(gradient) == 0) == (change is no_prediction)


def test_a_row_of_padding_counts_for_nothing(config):
  batch = make_batch(config, 0)
  whole, _ = loss_and_gradient(config, {name: array[1:] for name, array in batch.items()})
  all_padding(batch)
  padded, _ = loss_and_gradient(config, batch)
  assert padded == pytest.approx(whole, rel=1e-5)


def test_float16_is_refused_with_the_reason():
  with pytest.raises(InputError, match=r"float16.*loss to be scaled.*bfloat16"):
    compute_dtype("float16")


def test_the_softmax_of_bfloat16_scores_is_float32():
  """Two scores, 16 and 16 + 1/16, are one number in bfloat16; their probabilities differ by 3 %."""
  q_BTHK = jnp.zeros([1, 2, 1, 2], jnp.bfloat16) + jnp.array([1, 1], jnp.bfloat16)
  k_BSHK = jnp.array([[16, 0], [16, 1 / 16]], jnp.bfloat16)[None, :, None]
  v_BSHK = jnp.array([[-1, -1], [1, 1]], jnp.bfloat16)[None, :, None]
  rows = dict(example_ids_BT=jnp.ones([1, 2], jnp.int32), packed=False, implementation="xla", dropout_rate=0)
  mixed = np.asarray(attend(q_BTHK, k_BSHK, v_BSHK, None, **rows), np.float32)
  np.testing.assert_allclose(mixed, np.tanh(1 / 32), rtol=0.05)


def test_bfloat16_logits_are_sums_in_float32():
  """Rounded to bfloat16, logits of about 100 would stand half a nat apart."""
  config = EncoderConfig(
    vocab_size=50, embedding=64, width=64, layers=1, heads=1, ffn=8, attn_table=(0,), ffn_table=(0,)
  )
  head = MaskedLMHead(config, rngs=nnx.Rngs(0))
  random = np.random.default_rng(0)
  word_VE = jnp.asarray(random.normal(10, 1, (50, 64)), jnp.float32)
  head.norm.bias[...] = jnp.asarray(random.normal(size=64), jnp.float32)
  x_BMD = jnp.asarray(random.normal(size=(2, 3, 64)), jnp.bfloat16)
  logits_BMV = head(x_BMD, word_VE)
  assert logits_BMV.dtype == jnp.float32
  x_BME = np.asarray(head.norm(jax.nn.gelu(head.dense(x_BMD))), np.float64)
  expected = x_BME @ np.asarray(word_VE.astype(jnp.bfloat16), np.float64).T
  np.testing.assert_allclose(logits_BMV, expected, rtol=0, atol=1e-3)
  assert np.abs(np.asarray(logits_BMV.astype(jnp.bfloat16), np.float32) - logits_BMV).max() > 0.1
