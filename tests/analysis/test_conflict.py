import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from albert_jax.analysis import conflict
from albert_jax.analysis.report import conflict_report
from albert_jax.tasks import make_task
from tests.builders import make_batch, override

LAYERS = 4
CONFIGS = {
  "shared": {"model.sharing.attn": "all", "model.sharing.ffn": "cycle:2"},
  "leaves": {
    "model.sharing.attn": "cycle_rev:2",
    "model.sharing.key": "none",
    "model.sharing.norm": "all",
    "model.sharing.bias": "1,0,0,2",
    "model.depth.lora": 2,
    "model.depth.embedding": "learned",
    "model.depth.residual": "learned",
  },
  "inverse": {"model.depth.embedding": "sinusoid", "model.depth.residual": "inverse"},
}


@pytest.fixture(params=CONFIGS)
def model(request, small_config):
  """A config, its task, and parameters far from their neutral initial values."""
  config = override(small_config, CONFIGS[request.param])
  task = make_task(config)
  random = np.random.default_rng(0)
  params = jax.tree.map(lambda w: w + 0.1 * random.normal(size=w.shape).astype("f4"), task.init(jax.random.key(0)))
  return config, task, params


def test_layers_sum_to_the_tied_gradient(model):
  config, task, params = model
  batch = make_batch(config, 0)

  def loss(params):
    terms, _ = task.forward(params, batch, None)
    return sum(terms[name][0] / jnp.maximum(terms[name][1], 1) for name in task.losses)

  tied = flatten_dict(jax.jit(jax.grad(loss))(params)["encoder"], sep="/")
  untied = conflict.untied_task(config)
  copies = conflict.untie(params, task.encoder)
  gradients = jax.jit(lambda p: conflict.layer_gradients(untied, p, batch, list(task.encoder.tables)))(copies)
  assert {path: g.shape[1:] for path, g in gradients.items()} == {p: tied[p].shape[1:] for p in task.encoder.tables}
  norms = {path: np.linalg.norm(tied[path]) for path in gradients}
  for path, table in task.encoder.tables.items():
    total = np.zeros(tied[path].shape)
    np.add.at(total, np.array(table), np.asarray(gradients[path], np.float64))
    bound = 1e-6 * (max(norms.values()) if path in conflict.NO_GRADIENT else norms[path])
    assert np.linalg.norm(total - tied[path]) < bound, path


def test_an_untied_model_has_the_same_outputs(model):
  config, task, params = model
  batch = make_batch(config, 0)
  untied, copies = conflict.untied_task(config), conflict.untie(params, task.encoder)
  expected_specs = jax.eval_shape(untied.init, jax.random.key(0))
  assert jax.tree.map(jnp.shape, copies) == jax.tree.map(jnp.shape, expected_specs)
  found, expected = untied.forward(copies, batch, None)[0], task.forward(params, batch, None)[0]
  for name in task.losses:
    assert float(found[name][0]) == pytest.approx(float(expected[name][0]), rel=1e-6)


def test_products_are_those_of_the_gradients(model):
  config, task, params = model
  batch = make_batch(config, 0)
  grams = conflict.gram_function(config)(params, batch)
  untied, copies = conflict.untied_task(config), conflict.untie(params, task.encoder)
  gradients = conflict.layer_gradients(untied, copies, batch, list(task.encoder.tables))
  largest = max(np.square(g, dtype=np.float64).sum() for g in gradients.values())
  for path, g in gradients.items():
    rows = np.asarray(g, np.float64).reshape(LAYERS, -1)
    np.testing.assert_allclose(grams[path], rows @ rows.T, rtol=1e-3, atol=1e-6 * largest, err_msg=path)


def test_a_part_holds_what_its_own_table_shares(small_config):
  config = override(small_config, {"model.sharing.attn": "cycle:2", "model.sharing.norm": "none"})
  encoder = make_task(config).encoder
  grams = {path: np.full((LAYERS, LAYERS), 10.0**number) for number, path in enumerate(encoder.tables)}
  parts = conflict.by_part(grams, encoder)
  gram_LL, table = parts["attn"]
  assert table == (0, 1, 0, 1)
  assert gram_LL[0, 0] == sum(
    grams[path][0, 0] for path in grams if path.startswith("attn/") and path not in NORM_OR_KEY
  )
  assert parts["attn/norm/scale"][1] == (0, 1, 2, 3)
  assert "attn/key/bias" not in parts


NORM_OR_KEY = ("attn/norm/scale", "attn/norm/bias", "attn/key/bias")


GRADIENTS = np.array([[3.0, 0], [0, 4], [-3, 0], [0, 0]])


def test_what_a_gram_matrix_tells():
  found = conflict.conflict(GRADIENTS @ GRADIENTS.T, (0, 0, 0, 1))
  nan = np.nan
  np.testing.assert_allclose(
    found["cosine"], [[1, 0, -1, nan], [0, 1, 0, nan], [-1, 0, 1, nan], [nan, nan, nan, 0]], atol=1e-12
  )
  np.testing.assert_allclose(found["to_sum"], [0, 1, 0, 0], atol=1e-12)  # the sum is (0, 4)
  np.testing.assert_allclose(found["agreement"], [4 / 10, 0])
  np.testing.assert_allclose(found["share"], [0.3, 0.4, 0.3, 0])


def test_parallel_gradients_agree_and_opposite_ones_cancel():
  same = conflict.conflict(np.outer([1, 2], [1, 2]), (0, 0))
  np.testing.assert_allclose(same["agreement"], 1)
  opposite = conflict.conflict(np.outer([1, -1], [1, -1]), (0, 0))
  np.testing.assert_allclose(opposite["agreement"], 0)
  np.testing.assert_allclose(opposite["to_sum"], 0)
  alone = conflict.conflict(np.outer([1, -1], [1, -1]), (0, 1))
  np.testing.assert_allclose(alone["agreement"], [1, 1])


def test_the_report_can_be_written_as_json(small_config):
  task = make_task(small_config)
  batches = [make_batch(small_config, seed) for seed in range(2)]
  found = conflict_report(small_config, task.init(jax.random.key(0)), batches)
  assert json.loads(json.dumps(found, allow_nan=False)) == found
  assert found["attn"]["table"] == [0, 1, 0, 1]
  assert found["attn"]["cosine"][0][1] is None
  assert -1 <= found["attn"]["cosine"][0][2] < 1
  assert sum(found["ffn"]["share"]) == pytest.approx(1)


def test_the_config_stays_as_it_was(small_config):
  before = small_config.to_dict()
  encoder = conflict.untied_task(small_config).encoder
  assert small_config.to_dict() == before
  assert set(encoder.tables.values()) == {tuple(range(LAYERS))}
  assert (
    dataclasses.replace(encoder, attn_table=(0, 1, 0, 1), ffn_table=(0,) * LAYERS) == make_task(small_config).encoder
  )
