import jax
import numpy as np
import pytest

from albert_jax.errors import InputError
from albert_jax.tasks import make_task
from tests.builders import make_batch, override


@pytest.fixture
def config():
  from configs import albert_tiny

  return override(albert_tiny.get_config("test"), {"model.vocab_size": 61})


def gradient_of(config):
  """(params, batch) → (gradient of the summed losses, terms)."""
  task = make_task(config)

  def loss(params, batch):
    terms, _ = task.forward(params, batch, None)
    return sum(terms[name][0] for name in task.losses), terms

  return task, jax.grad(loss, has_aux=True)


@pytest.mark.parametrize("chunks", [2, 3])
def test_loss_chunks_change_nothing_but_memory(config, chunks):
  """Three do not divide the predictions of a row."""
  batch = make_batch(config, 0)
  rows, predictions = batch["mlm_labels"].shape
  assert predictions % 3
  task, whole = gradient_of(config)
  params = task.init(jax.random.key(0))
  _, chunked = gradient_of(override(config, {"train.loss_chunks": chunks}))
  expected, found = (jax.jit(function)(params, batch) for function in (whole, chunked))
  largest = max(np.abs(leaf).max() for leaf in jax.tree.leaves(expected[0]))
  for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6 * largest)  # the gradient of the key's bias is zero

  logits = f"f32[{rows},{predictions},61]"
  texts = [str(jax.make_jaxpr(function)(params, batch)) for function in (whole, chunked)]
  assert [logits in text for text in texts] == [True, False]
  assert f"f32[{rows},{-(-predictions // chunks)},61]" in texts[1]


@pytest.mark.parametrize("chunks", [0, 1000])
def test_chunks_of_nothing_are_refused(config, chunks):
  with pytest.raises(InputError, match=r"train\.loss_chunks"):
    make_task(override(config, {"train.loss_chunks": chunks}))
