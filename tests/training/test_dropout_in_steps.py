import jax
import numpy as np
import pytest

from albert_jax.tasks import make_task
from albert_jax.training.step import Hyper, TrainState, make_eval_step, make_gradient
from tests.builders import make_batch, override


@pytest.fixture
def masked_loss(small_config):
  """(rate, batch, microbatches) → the masked-LM loss summed over a batch."""

  def loss(rate: float, batch: dict, microbatches: int) -> float:
    override(small_config, {"model.dropout": rate, "model.attention_dropout": 0.0})
    task = make_task(small_config)
    gradient = make_gradient(task, microbatches=microbatches)
    random = np.random.default_rng(0)
    params = jax.tree.map(lambda w: w + random.normal(0, 0.3, w.shape).astype("f4"), task.init(jax.random.key(0)))
    state = TrainState(np.int32(0), params, None)
    _, terms, _ = jax.jit(gradient)(state, batch, Hyper(np.float32(1), jax.random.key(0)))
    return float(terms["mlm_loss"][0])

  return loss


def test_microbatches_have_masks_of_their_own(small_config, masked_loss):
  """Two microbatches of the same rows lose alike, and with dropout not: the second draws masks of its own."""
  rows = {name: array[:4] for name, array in make_batch(small_config, 0).items()}
  twice = {name: np.repeat(array, 2, axis=0) for name, array in rows.items()}  # a microbatch has every second row
  assert masked_loss(0.0, twice, 2) == pytest.approx(2 * masked_loss(0.0, rows, 1), rel=1e-5)
  assert masked_loss(0.5, twice, 2) != pytest.approx(2 * masked_loss(0.5, rows, 1), rel=1e-2)


def test_evaluation_has_no_dropout(small_config):
  batch, losses = make_batch(small_config, 0), []
  for rate in (0.5, 0.0):
    override(small_config, {"model.dropout": rate, "model.attention_dropout": rate})
    task = make_task(small_config)
    terms, _ = jax.jit(make_eval_step(task))(task.init(jax.random.key(0)), batch)
    losses.append(float(terms["mlm_loss"][0]))
  assert losses[0] == losses[1]
