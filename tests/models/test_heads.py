import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from albert_jax.models.heads import PretrainingModel, encode
from albert_jax.models.layers import activation
from tests.models.test_encoder import make_config


def make_batch(rows: int = 2, length: int = 9) -> dict[str, np.ndarray]:
  random = np.random.default_rng(0)
  return {
    "tokens": random.integers(0, 40, (rows, length)),
    "token_type_ids": random.integers(0, 2, (rows, length)),
    "example_ids": np.repeat([[1] * 5 + [2] * 4], rows, 0),
    "positions": np.repeat([[*range(5), *range(4)]], rows, 0),
    "mlm_positions": np.array([[3, 8, 0], [1, 2, 7]]),
    "cls_positions": np.array([[0, 5], [0, 5]]),
  }


@pytest.fixture
def model():
  model = PretrainingModel(make_config(), pair=True, rngs=nnx.Rngs(0))
  random = np.random.default_rng(1)
  nnx.update(model, jax.tree.map(lambda w: w + 0.3 * random.normal(size=w.shape), nnx.state(model)))
  return model


def test_logits_are_those_of_the_gathered_positions(model):
  batch = make_batch()
  mlm_logits, pair_logits = model(batch, None)
  x = np.asarray(
    model.encoder(batch["tokens"], batch["token_type_ids"], batch["example_ids"], batch["positions"], None)
  )
  for row in range(2):
    for slot, position in enumerate(batch["mlm_positions"][row]):
      hidden = x[row, position] @ np.asarray(model.mlm.dense.kernel[...]) + np.asarray(model.mlm.dense.bias[...])
      hidden = np.asarray(model.mlm.norm(activation("gelu_tanh", jnp.asarray(hidden))))
      expected = np.asarray(model.encoder.embeddings.word[...]) @ hidden + np.asarray(model.mlm.bias[...])
      np.testing.assert_allclose(mlm_logits[row, slot], expected, rtol=1e-4, atol=1e-4)
    for slot, position in enumerate(batch["cls_positions"][row]):
      pooled = np.tanh(x[row, position] @ np.asarray(model.pooler.dense.kernel[...]) + model.pooler.dense.bias[...])
      expected = pooled @ np.asarray(model.pair.kernel[...]) + np.asarray(model.pair.bias[...])
      np.testing.assert_allclose(pair_logits[row, slot], expected, rtol=1e-4, atol=1e-4)


def test_the_word_table_learns_from_both_its_uses(model):
  batch = make_batch()
  batch["tokens"] %= 20  # ids from 20 on do not occur in the input

  definition, state = nnx.split(model)

  def loss(params):
    return jnp.sum(jnp.sin(nnx.merge(definition, params)(batch, None)[0]))

  gradient = jax.grad(loss)(nnx.to_pure_dict(state))["encoder"]["embeddings"]["word"]
  assert (np.abs(gradient[20:]).max(-1) > 0).all()


def test_without_a_pair_objective_there_is_no_pooler():
  model = PretrainingModel(make_config(), pair=False, rngs=nnx.Rngs(0))
  assert model(make_batch(), None)[1] is None
  assert set(nnx.to_pure_dict(nnx.state(model))) == {"encoder", "mlm"}


@pytest.mark.parametrize(("examples", "packed"), [(0, False), (1, False), (2, True)])
def test_rows_with_one_example_are_not_packed(examples, packed):
  """Fused attention needs no mask for them."""
  batch = make_batch()
  batch["cls_positions"] = batch["cls_positions"][:, :examples]
  if not examples:
    del batch["cls_positions"]
  assert encode(lambda *fields, packed, collect: packed, batch, None) == packed
