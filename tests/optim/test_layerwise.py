import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from albert_jax.errors import InputError
from albert_jax.optim.layerwise import depth_factors
from albert_jax.optim.optimizer import OptimizerSettings, make_optimizer, make_schedule
from tests.builders import make_axes


def make_tables(attn, ffn) -> dict:
  return {"attn/query/kernel": attn, "attn/query/bias": attn, "ffn/up/kernel": ffn}


BERT = make_tables((0, 1, 2), (0, 1, 2))


def make_params(groups: int) -> dict:
  stack = jnp.full((groups, 2, 2, 1), 2.0)
  return {
    "encoder": {
      "embeddings": {"word": jnp.full((5, 2), 2.0)},
      "attn": {"query": {"kernel": stack, "bias": stack[..., 0]}},
      "ffn": {"up": {"kernel": stack[..., 0]}},
    },
    "pooler": {"dense": {"kernel": jnp.full((2, 2), 2.0)}},
  }


def test_lower_layers_take_smaller_steps():
  factors = depth_factors(make_params(3), BERT, 0.5, 0)
  assert factors["pooler"]["dense"]["kernel"] == 1
  np.testing.assert_allclose(factors["encoder"]["attn"]["query"]["bias"].ravel(), [1 / 8, 1 / 4, 1 / 2])
  np.testing.assert_allclose(factors["encoder"]["embeddings"]["word"], 1 / 16)


def test_a_shared_group_counts_as_deep_as_its_last_layer():
  factors = depth_factors(make_params(2), make_tables((0, 1, 0), (0, 0, 1)), 0.5, 0)["encoder"]
  np.testing.assert_allclose(factors["attn"]["query"]["kernel"].ravel(), [1 / 2, 1 / 4])
  np.testing.assert_allclose(factors["ffn"]["up"]["kernel"].ravel(), [1 / 4, 1 / 2])


def test_leaves_and_what_layers_have_of_their_own_take_the_rate_of_their_layers():
  params = {"encoder": {"attn": {"query": {"kernel": jnp.ones((1, 2)), "bias": jnp.ones((3, 2))}}}}
  params["encoder"]["depth"] = {"attn": {"query": {"a": jnp.ones((3, 2, 1))}}, "residual_attn": jnp.ones(3)}
  tables = {"attn/query/kernel": (0, 0, 0), "attn/query/bias": (2, 0, 1)}
  factors = depth_factors(params, tables, 0.5, 0)["encoder"]
  np.testing.assert_allclose(factors["attn"]["query"]["kernel"].ravel(), [1 / 2])
  np.testing.assert_allclose(factors["attn"]["query"]["bias"].ravel(), [1 / 4, 1 / 2, 1 / 8])
  np.testing.assert_allclose(factors["depth"]["attn"]["query"]["a"].ravel(), [1 / 8, 1 / 4, 1 / 2])
  np.testing.assert_allclose(factors["depth"]["residual_attn"], [1 / 8, 1 / 4, 1 / 2])


@pytest.mark.parametrize("name", ["adamw", "lamb"])
def test_what_is_frozen_stays_and_does_not_count_in_the_clip(name):
  settings = dict(name=name, learning_rate=0.1, warmup_steps=0, clip_norm=1.0, weight_decay=0.1, schedule="constant")
  params = make_params(3)

  def move(gradients, **more):
    whole = OptimizerSettings(**settings, **more)
    optimizer = make_optimizer(whole, make_schedule(whole, 10), params, make_axes(params), BERT)
    updates, _ = optimizer.update(gradients, optimizer.init(params), params, learning_rate=whole.learning_rate)
    return optax.apply_updates(params, updates)

  gradients = jax.tree.map(jnp.ones_like, params)
  loud = jax.tree.map(lambda g: g, gradients)
  loud["encoder"]["embeddings"]["word"] *= 1e6
  new, same = move(gradients, frozen_layers=2), move(loud, frozen_layers=2)
  jax.tree.map(np.testing.assert_array_equal, new, same)
  old = params["encoder"]
  np.testing.assert_array_equal(new["encoder"]["embeddings"]["word"], old["embeddings"]["word"])
  np.testing.assert_array_equal(new["encoder"]["attn"]["query"]["kernel"][:2], old["attn"]["query"]["kernel"][:2])
  assert (new["encoder"]["attn"]["query"]["kernel"][2] != old["attn"]["query"]["kernel"][2]).all()
  assert (new["pooler"]["dense"]["kernel"] != params["pooler"]["dense"]["kernel"]).all()


def test_a_layer_decay_scales_the_update():
  settings = OptimizerSettings(name="adamw", learning_rate=0.1, warmup_steps=0, layer_decay=0.5)
  plain = OptimizerSettings(name="adamw", learning_rate=0.1, warmup_steps=0)
  params = make_params(3)

  def update(settings):
    optimizer = make_optimizer(settings, make_schedule(settings, 10), params, make_axes(params), BERT)
    return optimizer.update(
      jax.tree.map(jnp.ones_like, params), optimizer.init(params), params, learning_rate=settings.learning_rate
    )[0]["encoder"]

  small, whole = update(settings), update(plain)
  expected = whole["ffn"]["up"]["kernel"] * jnp.array([1 / 8, 1 / 4, 1 / 2]).reshape(3, 1, 1)
  np.testing.assert_allclose(small["ffn"]["up"]["kernel"], expected, rtol=1e-6)


@pytest.mark.parametrize("frozen", [-1, 4])
def test_only_layers_that_exist_can_be_frozen(frozen):
  with pytest.raises(InputError, match=r"frozen_layers must be between 0 and model\.layers 3"):
    depth_factors(make_params(3), BERT, 1.0, frozen)


def test_a_group_cannot_be_half_frozen():
  with pytest.raises(InputError, match=r"layer 1 shares attn/.* with a frozen layer, 0"):
    depth_factors(make_params(1), make_tables((0, 0, 0), (0, 0, 0)), 1.0, 1)
  factors = depth_factors(make_params(1), make_tables((0, 0, 0), (0, 0, 0)), 1.0, 3)
  assert not factors["encoder"]["attn"]["query"]["kernel"].any()
