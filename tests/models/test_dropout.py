import jax
import jax.numpy as jnp
import numpy as np
import pytest

from albert_jax.models.dropout import dropout
from albert_jax.models.logical_sharding import LogicalRules, use_rules


@pytest.mark.parametrize("platform", ["cpu", "tpu"])
@pytest.mark.parametrize("shape", [(400, 500), (400, 501)])
@pytest.mark.parametrize("rate", [0.1, 0.5, 1e-6])
def test_dropout_drops_the_rate_and_scales_what_it_keeps(rate, shape, platform):
  with use_rules(LogicalRules(platform)):
    x = np.asarray(dropout(jnp.ones(shape), rate, jax.random.key(0)))
  kept = x != 0
  if platform == "cpu" and shape[-1] % 2 == 0:
    rate = max(rate, 2**-16)
  assert abs(kept.mean() - (1 - rate)) < 4 * np.sqrt(rate * (1 - rate) / x.size)
  np.testing.assert_allclose(x[kept], 1 / (1 - rate), rtol=1e-5)
  assert len(np.unique(x[kept])) == 1


def test_entries_are_dropped_independently():
  """Two entries share a word of the generator."""
  kept = np.asarray(dropout(jnp.ones((1000, 1000)), 0.5, jax.random.key(1))) > 0
  for other in (np.roll(kept, 1, axis=1), np.roll(kept, 500, axis=1), np.roll(kept, 1, axis=0)):
    assert abs((kept == other).mean() - 0.5) < 0.002


def test_without_a_key_or_a_rate_nothing_is_dropped():
  x = jnp.ones((4, 6))
  assert dropout(x, 0.5, None) is x
  assert dropout(x, 0.0, jax.random.key(0)) is x


def test_the_dtype_stays():
  assert dropout(jnp.ones((4, 6), jnp.bfloat16), 0.1, jax.random.key(0)).dtype == jnp.bfloat16
