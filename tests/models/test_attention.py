import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from albert_jax.errors import InputError
from albert_jax.models.attention import attend, select_attention
from albert_jax.models.logical_sharding import use_rules
from albert_jax.training.sharding import activation_rules, make_mesh

ROWS, LENGTH, HEADS, HEAD_DIM = 4, 256, 2, 8
FUSED = "cudnn" if jax.default_backend() == "gpu" else "splash"  # splash is interpreted on a CPU
DTYPE, CLOSE = (jnp.bfloat16, 2e-2) if FUSED == "cudnn" else (jnp.float32, 1e-5)


def make_inputs():
  """Queries, keys, values and the gradient of the result."""
  keys = jax.random.split(jax.random.key(0), 4)
  return [2 * jax.random.normal(key, (ROWS, LENGTH, HEADS, HEAD_DIM), DTYPE) for key in keys]


def make_examples(packed: bool) -> np.ndarray:
  example_ids_BT = np.zeros((ROWS, LENGTH), np.int32)
  for row, lengths in enumerate([(100, 100, 30), (256,), (1, 7), ()] if packed else [(100,), (256,), (1,), ()]):
    example_ids_BT[row, : sum(lengths)] = np.repeat(np.arange(len(lengths)) + 1, lengths)
  return example_ids_BT


@functools.partial(jax.jit, static_argnums=(1, 2))
def output_and_gradients(example_ids_BT, implementation, packed):
  """Of real positions; the gradient that comes into padding is zero, as in a model."""
  *qkv, cotangent = make_inputs()
  is_real = (jnp.asarray(example_ids_BT) > 0)[:, :, None, None]

  def function(*qkv):
    more = dict(example_ids_BT=example_ids_BT, packed=packed, implementation=implementation, dropout_rate=0.1)
    return attend(*qkv, None, **more) * is_real

  output, pullback = jax.vjp(function, *qkv)
  return output, *pullback(cotangent * is_real)


def assert_equal(found, expected):
  for a, b in zip(found, expected, strict=True):
    np.testing.assert_allclose(np.float32(a), np.float32(b), rtol=CLOSE, atol=CLOSE * float(jnp.abs(b).max()))


@pytest.mark.parametrize("packed", [False, True])
def test_the_fused_implementation_equals_the_plain_one(packed):
  example_ids_BT = make_examples(packed)
  assert_equal(output_and_gradients(example_ids_BT, FUSED, packed), output_and_gradients(example_ids_BT, "xla", packed))


@pytest.mark.parametrize("sizes", [(4, 1, 2), (1, 2, 4), (8, 1, 1)])
def test_the_fused_implementation_on_a_mesh(sizes):
  """On (1, 2, 4) the heads cannot be split, on (8, 1, 1) the rows."""
  mesh = make_mesh(dict(zip(("data", "fsdp", "tensor"), sizes)), jax.devices()[: np.prod(sizes)])
  example_ids_BT = make_examples(True)
  with use_rules(activation_rules(mesh)):
    found = jax.jit(output_and_gradients.__wrapped__, static_argnums=(1, 2))(example_ids_BT, FUSED, True)
  assert_equal(found, output_and_gradients(example_ids_BT, "xla", True))


ON_GPU = dict(platform="gpu", dtype=jnp.bfloat16, length=128, head_dim=64, has_dropout=False)
ON_TPU = {**ON_GPU, "platform": "tpu", "length": 512}


@pytest.mark.parametrize(
  ("call", "expected"),
  [
    (ON_GPU, "cudnn"),
    (ON_GPU | {"has_dropout": True}, "xla"),
    (ON_GPU | {"dtype": jnp.float32}, "xla"),
    (ON_GPU | {"head_dim": 12}, "xla"),
    (ON_GPU | {"head_dim": 256}, "xla"),
    (ON_TPU, "splash"),
    (ON_TPU | {"dtype": jnp.float32}, "splash"),
    (ON_TPU | {"length": 128}, "xla"),
    (ON_TPU | {"length": 520}, "xla"),
    (ON_TPU | {"has_dropout": True}, "xla"),
    (ON_TPU | {"platform": "cpu"}, "xla"),
  ],
)
def test_auto_takes_what_the_hardware_has(call, expected):
  assert select_attention("auto", **call) == expected
  assert select_attention("xla", **call) == "xla"


@pytest.mark.parametrize(
  ("asked", "call", "message"),
  [
    ("cudnn", ON_TPU, r'"cudnn" needs a GPU \(this is a TPU\); "auto"'),
    ("cudnn", ON_GPU | {"dtype": jnp.float32, "head_dim": 12}, r'model.dtype "bfloat16" and heads of 8·n .*have 12'),
    ("cudnn", ON_GPU | {"has_dropout": True}, "needs model.attention_dropout 0"),
    ("splash", ON_GPU, r"a TPU \(this is a GPU\)"),
    ("splash", ON_TPU | {"length": 200}, "128·n positions .*have 200"),
  ],
)
def test_what_cannot_be_had_is_refused_with_the_reason(asked, call, message):
  with pytest.raises(InputError, match=message):
    select_attention(asked, **call)


def test_dropout_of_the_probabilities_needs_a_key_and_keeps_their_sum():
  *qkv, _ = make_inputs()
  example_ids_BT = make_examples(False)
  ones = jnp.ones_like(qkv[2])

  def mixed(rng, rate):
    more = dict(example_ids_BT=example_ids_BT, packed=False, implementation="xla", dropout_rate=rate)
    return attend(qkv[0] * 0, qkv[1], ones, rng, **more)

  np.testing.assert_allclose(mixed(None, 0.5), 1, rtol=1e-6)
  dropped = mixed(jax.random.key(0), 0.25)[1]  # 256 probabilities each
  assert 0.02 < float(jnp.std(dropped)) < 0.05
  assert abs(float(jnp.mean(dropped)) - 1) < 0.01
