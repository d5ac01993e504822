"""Steps with a loss or gradient that is not finite, and spikes: on a model of one matrix."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from albert_jax.training.guard import MEMORY, Guard, GuardSettings
from albert_jax.training.step import Hyper, TrainState, init_state, make_train_step

OPTIMIZERS = {
  "sgd": optax.sgd(0.1, momentum=0.9),
  "adamw": optax.adamw(0.1),
  "lamb": optax.chain(optax.clip_by_global_norm(1.0), optax.lamb(0.1)),
}


class LineTask:
  """Squared error of a line through points; where `bad` says so, the loss or only its gradient is not finite."""

  losses = ("loss",)

  def init(self, rng):
    return {"w": jax.random.normal(rng, [3]), "b": jnp.zeros([])}

  def forward(self, params, batch, rng):
    del rng
    errors_B = batch["x"] @ params["w"] + params["b"] - batch["y"]
    squares_B = jnp.where(batch["bad"] == 1, jnp.nan, jnp.square(errors_B))
    squares_B = jnp.where(batch["bad"] == 2, jnp.inf, squares_B)
    squares_B += jnp.sqrt(jnp.where(batch["bad"] == 3, 0 * params["b"], 1))  # the slope of √ at 0 is infinite
    return {"loss": (jnp.sum(squares_B), jnp.float32(len(squares_B)))}, {}

  def loss_weights(self, batch):
    return {"loss": jnp.float32(len(batch["y"]))}


def make_batch(seed: int = 0, bad: int = 0, scale: float = 1.0) -> dict[str, np.ndarray]:
  """Eight rows; `bad` concerns one of them."""
  random = np.random.default_rng(seed)
  kinds = np.zeros(8, np.int32)
  kinds[5] = bad
  return {"x": random.normal(size=(8, 3)).astype("f4"), "y": scale * random.normal(size=8).astype("f4"), "bad": kinds}


def make_step(optimizer="adamw", microbatches: int = 1, schedule=lambda step: step, branch=True, **settings):
  task = LineTask()
  guard = GuardSettings(**settings)
  more = dict(guard=guard, microbatches=microbatches, branch=branch)
  step = jax.jit(make_train_step(task, OPTIMIZERS[optimizer], schedule, **more))
  hyper = Hyper(jnp.float32(1), jax.random.key(0))
  return init_state(task, OPTIMIZERS[optimizer], jax.random.key(0)), lambda state, batch: step(state, batch, hyper)


def assert_unchanged(after: TrainState, before: TrainState):
  for a, b in zip(
    jax.tree.leaves((after.params, after.opt)), jax.tree.leaves((before.params, before.opt)), strict=True
  ):
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("branch", [True, False])
@pytest.mark.parametrize(("optimizer", "microbatches"), [("sgd", 1), ("adamw", 4), ("lamb", 1)])
def test_a_bad_step_changes_nothing_but_the_counts(optimizer, microbatches, branch):
  state, train_step = make_step(optimizer, microbatches, branch=branch)
  state, terms = train_step(state, make_batch())
  assert (int(state.guard.skipped), float(terms["skipped_steps"][0])) == (0, 0)
  expected, _ = train_step(state, make_batch(2))
  for bad in (1, 2, 3):
    after, terms = train_step(state, make_batch(1, bad))
    assert_unchanged(after, state)
    assert (int(after.step), int(after.guard.skipped), int(after.guard.in_a_row)) == (2, 1, 1)
    assert float(terms["skipped_steps"][0]) == 1
    assert np.isfinite(terms["loss"][0]) == (bad == 3)
    assert np.isfinite(terms["grad_norm"][0]) == (bad != 3)
    assert float(after.guard.mean_loss) == float(state.guard.mean_loss)
    again, terms = train_step(after, make_batch(2))
    assert (int(again.step), int(again.guard.skipped), int(again.guard.in_a_row)) == (3, 1, 0)
    assert not np.array_equal(again.params["w"], after.params["w"])
    assert_unchanged(again, expected)  # as if the bad batch had never been


def test_the_learning_rate_told_is_the_one_of_the_update():
  state, train_step = make_step()
  rates = []
  for bad in (0, 1, 1, 0):
    state, terms = train_step(state, make_batch(0, bad))
    rates.append(float(terms["learning_rate"][0]))
  assert rates == [0, 1, 1, 1]


def test_after_too_many_in_a_row_nothing_is_taken_any_more():
  state, train_step = make_step(max_bad_steps=2)
  for bad in (1, 0, 1, 1):
    state, _ = train_step(state, make_batch(0, bad))
  after, terms = train_step(state, make_batch(1))
  assert_unchanged(after, state)
  assert int(after.guard.in_a_row) == 3
  assert float(terms["skipped_steps"][0]) == 1


def test_a_spike_is_skipped_once_the_mean_is_known():
  state, train_step = make_step(spike_factor=3.0)
  early, _ = train_step(state, make_batch(0, scale=100))
  assert int(early.guard.skipped) == 0
  losses = []
  for seed in range(MEMORY):
    state, terms = train_step(state, make_batch(seed))
    losses.append(float(terms["loss"][0] / terms["loss"][1]))
  assert int(state.guard.skipped) == 0
  assert float(state.guard.mean_loss) == pytest.approx(np.mean(losses), rel=1e-5)
  after, terms = train_step(state, make_batch(0, scale=100))
  assert_unchanged(after, state)
  assert float(after.guard.mean_loss) == float(state.guard.mean_loss)
  assert float(terms["loss"][0] / terms["loss"][1]) > 3 * float(state.guard.mean_loss)
  taken, _ = train_step(after, make_batch(1))
  assert int(taken.guard.skipped) == 1


def test_without_the_rule_a_spike_is_taken():
  state, train_step = make_step()
  guard = Guard(jnp.int32(0), jnp.int32(0), jnp.float32(1e-3))
  state, _ = train_step(state._replace(step=jnp.int32(MEMORY), guard=guard), make_batch(scale=100))
  assert int(state.guard.skipped) == 0


@pytest.mark.parametrize("microbatches", [1, 4])
def test_the_norm_that_is_logged_is_that_of_the_whole_gradient(microbatches):
  state, train_step = make_step("lamb", microbatches)  # which clips it
  batch = make_batch()

  def loss(params):
    total, weight = LineTask().forward(params, batch, None)[0]["loss"]
    return total / weight

  gradient = jax.grad(loss)(state.params)
  expected = np.sqrt(np.sum(np.square(gradient["w"])) + np.square(gradient["b"]))
  _, terms = train_step(state, batch)
  assert float(terms["grad_norm"][0] / terms["grad_norm"][1]) == pytest.approx(float(expected), rel=1e-5)
