import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from albert_jax.errors import InputError
from albert_jax.optim.optimizer import OptimizerSettings, make_optimizer, make_schedule
from tests.builders import make_axes

STEPS = 6
TABLES = {"attn": (0, 1, 2), "ffn": (0, 0, 0)}


def make_params(seed: int, scale: float = 1.0) -> dict:
  random = np.random.default_rng(seed)

  def array(*shape):
    return (scale * random.normal(size=shape)).astype("f4")

  return {
    "encoder": {
      "embeddings": {"word": array(7, 4), "norm": {"scale": array(4), "bias": array(4)}},
      "attn": {"query": {"kernel": array(3, 4, 2, 2), "bias": array(3, 2, 2)}, "norm": {"scale": array(3, 4)}},
      "ffn": {"up": {"kernel": array(1, 4, 8), "bias": array(1, 8)}},
    }
  }


def flatten(tree) -> dict[str, np.ndarray]:
  return {jax.tree_util.keystr(p): np.asarray(x, "f8") for p, x in jax.tree_util.tree_leaves_with_path(tree)}


def numpy_updates(settings: OptimizerSettings, schedule, params: dict, gradients: list[dict]) -> dict[str, np.ndarray]:
  """LAMB and AdamW as the papers and BERT's code write them, one group of a stack at a time."""
  w = flatten(params)
  m, v = ({name: np.zeros_like(x) for name, x in w.items()} for _ in range(2))
  for step, gradient in enumerate(map(flatten, gradients)):
    norm = np.sqrt(sum((g**2).sum() for g in gradient.values()))
    for name, g in gradient.items():
      if settings.clip_norm and norm > settings.clip_norm:
        g = g * settings.clip_norm / norm
      m[name] = settings.beta1 * m[name] + (1 - settings.beta1) * g
      v[name] = settings.beta2 * v[name] + (1 - settings.beta2) * g**2
      m_hat, v_hat = m[name], v[name]
      if settings.bias_correction:
        m_hat, v_hat = m_hat / (1 - settings.beta1 ** (step + 1)), v_hat / (1 - settings.beta2 ** (step + 1))
      update = m_hat / (np.sqrt(v_hat) + settings.epsilon)
      plain = "bias" in name or "norm" in name
      if not plain:
        update = update + settings.weight_decay * w[name]
      stacked = "attn" in name or "ffn" in name
      for group in range(len(w[name])) if stacked else [...]:
        ratio = 1.0
        if settings.name == "lamb" and not plain:
          w_norm, update_norm = np.linalg.norm(w[name][group]), np.linalg.norm(update[group])
          ratio = w_norm / update_norm if w_norm > 0 and update_norm > 0 else 1.0
        w[name][group] -= settings.learning_rate * float(schedule(step)) * ratio * update[group]
  return w


@pytest.mark.parametrize(
  "settings",
  [
    OptimizerSettings(learning_rate=0.1, warmup_steps=2, weight_decay=0.1),
    OptimizerSettings(learning_rate=0.1, warmup_steps=0, weight_decay=0.1, clip_norm=0.0, bias_correction=True),
    OptimizerSettings(name="adamw", learning_rate=0.1, warmup_steps=1, weight_decay=0.1, beta2=0.98),
    OptimizerSettings(name="adamw", learning_rate=0.1, warmup_steps=0, clip_norm=1e6, bias_correction=True),
  ],
  ids=lambda s: f"{s.name}-{s.clip_norm}-{s.bias_correction}",
)
def test_updates_equal_plain_numpy(settings):
  params = make_params(0)
  params["encoder"]["attn"]["query"]["kernel"][1] = 0  # a group of norm 0 has ratio 1
  gradients = [make_params(seed, scale=10.0**-seed) for seed in range(1, STEPS + 1)]
  schedule = make_schedule(settings, STEPS)
  optimizer = make_optimizer(settings, schedule, jax.tree.map(jnp.asarray, params), make_axes(params), TABLES)

  @jax.jit
  def step(params, state, gradient):
    updates, state = optimizer.update(gradient, state, params, learning_rate=settings.learning_rate)
    return optax.apply_updates(params, updates), state

  new, state = jax.tree.map(jnp.asarray, params), optimizer.init(params)
  for gradient in gradients:
    new, state = step(new, state, gradient)
  expected = numpy_updates(settings, schedule, params, gradients)
  for name, w in flatten(new).items():
    np.testing.assert_allclose(w, expected[name], rtol=2e-5, atol=2e-6, err_msg=name)


def test_each_group_of_a_stack_has_its_own_trust_ratio():
  """A stack must move as its groups would as separate parameters, which one ratio for the leaf would not do."""
  settings = OptimizerSettings(learning_rate=0.1, warmup_steps=0, clip_norm=0.0)
  big, small = np.full((1, 4, 8), 10.0, "f4"), np.full((1, 4, 8), 0.1, "f4")

  def move(kernel):
    params = {"encoder": {"ffn": {"up": {"kernel": jnp.asarray(kernel)}}}}
    optimizer = make_optimizer(settings, make_schedule(settings, 10), params, make_axes(params), TABLES)
    updates, _ = optimizer.update(
      jax.tree.map(jnp.ones_like, params), optimizer.init(params), params, learning_rate=settings.learning_rate
    )
    return updates["encoder"]["ffn"]["up"]["kernel"]

  together = move(np.concatenate([big, small]))
  np.testing.assert_allclose(together, np.concatenate([move(big), move(small)]), rtol=1e-6)
  assert abs(together[0, 0, 0] / together[1, 0, 0]) > 50


@pytest.mark.parametrize(
  ("schedule", "floor", "rates"),
  [
    ("linear", 0.0, {0: 0.0, 5: 0.5, 10: 0.9, 50: 0.5, 100: 0.0, 120: 0.0}),
    ("linear", 0.2, {0: 0.0, 10: 0.92, 100: 0.2}),
    ("cosine", 0.0, {0: 0.0, 50: 0.5, 75: 0.5 * (1 + np.cos(0.75 * np.pi)), 100: 0.0}),
    ("constant", 0.0, {0: 0.0, 9: 0.9, 10: 1.0, 100: 1.0}),
  ],
)
def test_schedules(schedule, floor, rates):
  rate = make_schedule(OptimizerSettings(learning_rate=1.0, warmup_steps=10, schedule=schedule, floor=floor), 100)
  for step, expected in rates.items():
    assert float(rate(step)) == pytest.approx(expected, abs=1e-6), step


def test_the_paper_s_rate_when_warm_up_ends():
  rate = make_schedule(OptimizerSettings(), 125_000)
  assert float(rate(3125)) == pytest.approx(0.975, rel=1e-6)  # of the peak


def test_warm_up_longer_than_training_is_refused():
  with pytest.raises(InputError, match=r"optimizer.warmup_steps 10 is more than train.steps 5"):
    make_schedule(OptimizerSettings(warmup_steps=10), 5)
