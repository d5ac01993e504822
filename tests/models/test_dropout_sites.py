"""Every place of a model that has dropout has it, at its rate, with masks of its own.

A model is set up so that its output shows the mask of one place: there a large constant is added, everywhere else
nothing, and LayerNorm keeps the order of entries.
"""

import functools
import importlib
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from albert_jax.models.encoder import Encoder
from albert_jax.models.heads import ClassificationModel
from albert_jax.models.sizes import EncoderConfig
from albert_jax.tasks import make_task
from configs import text_classification
from tests.builders import override

ROWS, SIZE, LAYERS, RATE = 8, 16, 2, 0.5  # SIZE is both T and D, so that all masks have one shape
SITES = [("embeddings", 0), *itertools.product(("probabilities", "attention", "feed-forward"), range(LAYERS))]


def make_config(table=tuple(range(LAYERS)), **rates) -> EncoderConfig:
  shape = dict(vocab_size=4, embedding=SIZE, width=SIZE, layers=len(table), heads=1, ffn=4, positions=SIZE)
  return EncoderConfig(**shape, attn_table=table, ffn_table=table, **rates)


def silent_params(config) -> dict:
  """Branches are 0: an encoder that passes on its embeddings, position t a vector in direction t."""
  params = nnx.to_pure_dict(nnx.state(Encoder(config, rngs=nnx.Rngs(0))))
  params = jax.tree_util.tree_map_with_path(
    lambda path, w: w if "scale" in jax.tree_util.keystr(path) else jnp.zeros_like(w), params
  )
  params["embeddings"]["position"] += jnp.eye(SIZE)
  return params


@functools.partial(jax.jit, static_argnums=0)
def run(config, params, rng):
  definition = nnx.split(nnx.eval_shape(lambda: Encoder(config, rngs=nnx.Rngs(0))))[0]
  zeros_BT, positions_BT = jnp.zeros((ROWS, SIZE), int), jnp.tile(jnp.arange(SIZE), (ROWS, 1))
  return nnx.merge(definition, params)(zeros_BT, zeros_BT, zeros_BT + 1, positions_BT, rng)


def kept(site: str, layer: int, seed: int = 0) -> np.ndarray:
  """[ROWS, SIZE, SIZE]: which entries the place keeps."""
  config = make_config(attention_dropout=RATE) if site == "probabilities" else make_config(dropout=RATE)
  params = silent_params(config)
  if site == "embeddings":
    params["embeddings"]["norm"]["bias"] += 1e3
  elif site == "attention":
    params["attn"]["output"]["bias"] = params["attn"]["output"]["bias"].at[layer].set(1e3)
  elif site == "feed-forward":
    params["ffn"]["down"]["bias"] = params["ffn"]["down"]["bias"].at[layer].set(1e3)
  else:  # a position attends to all others alike, and takes from position s what only it has
    params["attn"]["value"]["kernel"] += jnp.eye(SIZE)[:, None]
    params["attn"]["output"]["kernel"] = params["attn"]["output"]["kernel"].at[layer].set(1e3 * jnp.eye(SIZE)[None])
  x_BTD = np.asarray(run(config, params, jax.random.key(seed)))
  return x_BTD > (x_BTD.max(axis=-1, keepdims=True) + x_BTD.min(axis=-1, keepdims=True)) / 2


def assert_independent(a: np.ndarray, b: np.ndarray, message: str):
  assert abs(np.mean(a == b) - 0.5) < 5 * 0.5 / np.sqrt(a.size), message


@pytest.mark.parametrize(("site", "layer"), SITES)
def test_every_place_drops_its_rate(site, layer):
  mask_BTD = kept(site, layer)
  assert abs(mask_BTD.mean() - (1 - RATE)) < 0.05
  assert_independent(mask_BTD[1:], mask_BTD[:-1], "rows")
  assert_independent(mask_BTD[:, 1:], mask_BTD[:, :-1], "positions")
  assert_independent(mask_BTD, kept(site, layer, seed=1), "keys")


def test_no_two_places_or_layers_have_the_same_mask():
  masks = {place: kept(*place) for place in SITES}
  for (place, mask), (other, its_mask) in itertools.combinations(masks.items(), 2):
    assert_independent(mask, its_mask, f"{place} and {other}")


def test_layers_on_the_same_weights_have_masks_of_their_own():
  """The keys do not depend on the table: a tied model draws what an untied one with equal weights draws."""
  config, random = make_config(dropout=0.3, attention_dropout=0.3), np.random.default_rng(0)
  tied = make_config((0,) * LAYERS, dropout=0.3, attention_dropout=0.3)
  params = nnx.to_pure_dict(nnx.state(Encoder(tied, rngs=nnx.Rngs(0))))
  params = jax.tree.map(lambda w: w + 0.3 * random.normal(size=w.shape).astype("f4"), params)
  copies = params | {part: jax.tree.map(lambda w: w.repeat(LAYERS, axis=0), params[part]) for part in ("attn", "ffn")}
  x_BTD = run(tied, params, jax.random.key(0))
  np.testing.assert_allclose(x_BTD, run(config, copies, jax.random.key(0)), rtol=1e-5, atol=1e-5)


@pytest.fixture
def classifier():
  """(params, rng) → logits that show the mask before the classifier, and the parameters."""
  config = make_config((0,))

  def make():
    return ClassificationModel(config, SIZE, dropout=RATE, rngs=nnx.Rngs(0))

  params = jax.tree.map(jnp.zeros_like, nnx.to_pure_dict(nnx.state(make())))
  params["pooler"]["dense"]["bias"] += 100  # tanh gives 1
  params["classifier"]["kernel"] = jnp.eye(SIZE)
  definition = nnx.split(nnx.eval_shape(make))[0]
  fields = ("tokens", "token_type_ids", "example_ids", "positions")
  batch = {name: jnp.full((64, 4), name == "example_ids", int) for name in fields}
  return lambda rng: np.asarray(nnx.merge(definition, params)(batch, rng))


def test_the_classifier_has_dropout_of_its_own(classifier):
  np.testing.assert_array_equal(classifier(None), 1)
  logits_BC = classifier(jax.random.key(0))
  assert set(np.unique(logits_BC)) == {0, 1 / (1 - RATE)}
  assert abs((logits_BC > 0).mean() - (1 - RATE)) < 0.08
  assert_independent(logits_BC[1:] > 0, logits_BC[:-1] > 0, "rows")
  assert_independent(logits_BC > 0, classifier(jax.random.key(1)) > 0, "keys")


def test_the_classifier_s_rate_is_that_of_the_config():
  config = override(
    text_classification.get_config("test"), {"data.labels": ("a", "b"), "model.classifier_dropout": 0.5}
  )
  config.model.update(dropout=0.0, attention_dropout=0.0)
  assert not np.allclose(*(logits(config, seed) for seed in (0, 1)))
  config.model.classifier_dropout = 0.0
  np.testing.assert_array_equal(*(logits(config, seed) for seed in (0, 1)))


@pytest.mark.parametrize("rate", ["dropout", "attention_dropout"])
@pytest.mark.parametrize("name", ["text_classification", "squad", "race"])
def test_fine_tuning_has_dropout_in_the_encoder(name, rate):
  config = importlib.import_module(f"configs.{name}").get_config("test")
  config.data.labels = ("a", "b") if name == "text_classification" else config.data.labels
  config.model.update({"dropout": 0.0, "attention_dropout": 0.0, "classifier_dropout": 0.0, rate: 0.5})
  assert loss(config, 0) != loss(config, 1)
  config.model[rate] = 0.0
  assert loss(config, 0) == loss(config, 1)


def loss(config, seed: int) -> float:
  task = make_task(config)
  random = np.random.default_rng(0)
  batch = {name: np.ones(spec.shape, spec.dtype) for name, spec in task.batch_specs(2).items()}
  batch["tokens"] = random.integers(5, 50, batch["tokens"].shape)
  params = jax.tree.map(lambda w: w + random.normal(0, 0.3, w.shape), task.init(jax.random.key(0)))
  return float(jax.jit(task.forward)(params, batch, jax.random.key(seed))[0]["loss"][0])


def logits(config, seed: int) -> np.ndarray:
  task = make_task(config)
  batch = {name: np.ones(spec.shape, spec.dtype) for name, spec in task.batch_specs(2).items()}
  return np.asarray(task.logits(task.init(jax.random.key(0)), batch, jax.random.key(seed)))
