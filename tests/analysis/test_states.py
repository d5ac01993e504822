import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from albert_jax.analysis.report import depth_report
from albert_jax.analysis.states import exit_terms, layer_terms, sample_states
from albert_jax.models.heads import PretrainingModel, encode
from albert_jax.models.param import abstract_module
from albert_jax.tasks import make_task
from tests.builders import make_batch

LAYERS = 4


@pytest.fixture
def model(small_config):
  """An encoder's shape, parameters far from their neutral initial values, and two batches."""
  task = make_task(small_config)
  random = np.random.default_rng(0)
  params = jax.tree.map(lambda w: w + 0.2 * random.normal(size=w.shape).astype("f4"), task.init(jax.random.key(0)))
  return task, params, [make_batch(small_config, seed) for seed in (1, 2)]


@functools.partial(jax.jit, static_argnums=(0, 3))
def run_encoder(encoder, params, batch, collect: bool):
  definition = abstract_module(lambda rngs: PretrainingModel(encoder, pair=True, rngs=rngs))
  return encode(nnx.merge(definition, params).encoder, batch, None, collect=collect)


def cut(encoder, params, depth: int):
  """The first layers of a model whose groups are in the order of their first readers."""
  encoder = dataclasses.replace(
    encoder, layers=depth, attn_table=encoder.attn_table[:depth], ffn_table=encoder.ffn_table[:depth]
  )
  parts = {part: max(getattr(encoder, f"{part}_table")) + 1 for part in ("attn", "ffn")}
  stacks = {
    part: jax.tree.map(lambda w, groups=groups: w[:groups], params["encoder"][part]) for part, groups in parts.items()
  }
  return encoder, {**params, "encoder": params["encoder"] | stacks}


@pytest.mark.parametrize("layer_loop", ["scan", "unroll"])
def test_a_collected_depth_is_the_model_cut_there(model, layer_loop):
  task, params, (batch, _) = model
  encoder = dataclasses.replace(task.encoder, layer_loop=layer_loop)
  x_BTD, x_LBTD = run_encoder(encoder, params, batch, True)
  assert x_LBTD.shape == (LAYERS + 1, *x_BTD.shape)
  np.testing.assert_array_equal(x_LBTD[-1], x_BTD)
  np.testing.assert_array_equal(run_encoder(encoder, params, batch, False), x_BTD)
  for depth in range(1, LAYERS + 1):
    expected = run_encoder(*cut(encoder, params, depth), batch, False)
    np.testing.assert_array_equal(x_LBTD[depth], expected, err_msg=f"depth {depth}")
  assert np.abs(x_LBTD[1:] - x_LBTD[:-1]).max(axis=(1, 2, 3)).min() > 0.1


def test_the_exit_at_the_last_layer_is_the_model(model):
  task, params, batches = model
  terms = [exit_terms(task.encoder, params, batch) for batch in batches]
  for batch, found in zip(batches, terms, strict=True):
    expected, _ = task.forward(params, batch, None)
    for name in ("mlm_loss", "mlm_accuracy"):
      assert found[name][0].shape == (LAYERS + 1,)
      assert float(found[name][0][-1]) == pytest.approx(float(expected[name][0]), rel=1e-5)
      np.testing.assert_allclose(found[name][1], expected[name][1])
  encoder, shallow = cut(task.encoder, params, 2)
  expected = exit_terms(encoder, shallow, batches[0])["mlm_loss"][0]
  np.testing.assert_allclose(terms[0]["mlm_loss"][0][:3], expected, rtol=1e-5)


def test_distance_and_angle_are_those_of_real_tokens(model):
  task, params, (batch, _) = model
  x_LBTD = np.asarray(run_encoder(task.encoder, params, batch, True)[1], np.float64)
  x_LND = x_LBTD[:, batch["example_ids"] > 0]
  assert x_LND.shape[1] < batch["example_ids"].size
  norms = np.linalg.norm(x_LND, axis=-1)
  cosines = np.sum(x_LND[1:] * x_LND[:-1], axis=-1) / norms[1:] / norms[:-1]
  expected = {
    "norm": norms,
    "distance": np.linalg.norm(x_LND[1:] - x_LND[:-1], axis=-1),
    "angle": np.degrees(np.arccos(cosines)),
  }
  for name, (total, weight) in layer_terms(task.encoder, params, batch).items():
    np.testing.assert_allclose(total / weight, expected[name].mean(axis=1), rtol=1e-4, err_msg=name)


def test_sampled_tokens_are_real_and_differ(model):
  task, params, batches = model
  x_LND = sample_states(task.encoder, params, batches, 31)
  assert x_LND.shape == (LAYERS + 1, 31, task.encoder.width)
  assert len(np.unique(x_LND[-1], axis=0)) == 31
  real = np.concatenate(
    [np.asarray(run_encoder(task.encoder, params, b, True)[0])[b["example_ids"] > 0] for b in batches]
  )
  assert (np.abs(x_LND[-1][:, None] - real).max(axis=-1).min(axis=-1) < 1e-4).all()
  np.testing.assert_array_equal(x_LND, sample_states(task.encoder, params, batches, 31))
  assert (x_LND != sample_states(task.encoder, params, batches, 31, seed=1)).any()
  everything = sample_states(task.encoder, params, batches, 10**6)
  assert everything.shape[1] == len(real)


def test_the_report_weighs_batches_by_their_tokens(model):
  task, params, batches = model
  found = depth_report(task.encoder, params, batches)
  sums = [task.forward(params, batch, None)[0]["mlm_loss"] for batch in batches]
  loss = sum(float(total) for total, _ in sums) / sum(float(weight) for _, weight in sums)
  assert found["mlm_loss"][-1] == pytest.approx(loss, rel=1e-5)
  assert len(found["distance"]) == LAYERS
  assert np.shape(found["cka"]) == np.shape(found["cosine"]) == (LAYERS + 1, LAYERS + 1)
  assert all(1 <= rank <= task.encoder.width for rank in found["effective_rank"])
  assert found["enough_tokens"] == (found["tokens"] >= 10 * task.encoder.width)


def test_a_model_without_pairs_is_analysed_too(small_config):
  small_config.data.pair_objective = "none"
  task = make_task(small_config)
  params = task.init(jax.random.key(0))
  batch = make_batch_without_pairs(small_config)
  total, weight = exit_terms(task.encoder, params, batch)["mlm_loss"]
  assert jnp.isfinite(total / weight).all()


def make_batch_without_pairs(config):
  specs = make_task(config).batch_specs(2)
  batch = {name: np.zeros(spec.shape, spec.dtype) for name, spec in specs.items()}
  batch["example_ids"][:] = batch["mlm_weights"][:] = 1
  return batch
