"""Sharing by leaf, and what each layer has for itself."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from flax.traverse_util import flatten_dict, unflatten_dict

from albert_jax.errors import InputError
from albert_jax.models import sharing
from albert_jax.models.attention import attend
from albert_jax.models.depth import fixed_inputs
from albert_jax.models.encoder import PARTS, Encoder
from albert_jax.models.flops import flops_per_token
from albert_jax.models.heads import PretrainingModel
from albert_jax.models.layers import Own
from albert_jax.models.materialise import materialise
from albert_jax.models.param import Axes, abstract_module, init_params, param_axes
from albert_jax.models.sizes import LEAVES, MATRICES, DepthConfig, EncoderConfig
from tests.builders import make_encoder_config

SHAPE = dict(vocab_size=20, embedding=6, width=8, heads=2, ffn=12, positions=8)
ALL_OF_IT = DepthConfig(lora=2, embedding="learned", residual="learned")


def make(layers=3, attn="all", ffn="all", depth=None, **leaves) -> EncoderConfig:
  config = make_encoder_config(attn, ffn, layers=layers, **SHAPE)
  tables = tuple((name, sharing.make_table(scheme, layers)) for name, scheme in leaves.items())
  return dataclasses.replace(config, leaf_tables=tables, depth=depth or DepthConfig())


def params_of(config: EncoderConfig, seed: int | None = None) -> dict:
  """New parameters; with a seed, random ones everywhere."""
  params = init_params(lambda rngs: Encoder(config, rngs=rngs), jax.random.key(0))
  if seed is None:
    return params
  random = np.random.default_rng(seed)
  return jax.tree.map(lambda w: jnp.asarray(w + 0.3 * random.normal(size=w.shape), "f4"), params)


def make_rows(rows=2, length=6):
  random = np.random.default_rng(0)
  tokens, types = random.integers(0, 20, (rows, length)), random.integers(0, 2, (rows, length))
  return tokens, types, np.ones((rows, length), np.int32), np.tile(np.arange(length), (rows, 1))


@functools.partial(jax.jit, static_argnums=(0, 3))
def apply(config, params, rows, collect=False):
  return nnx.merge(abstract_module(lambda rngs: Encoder(config, rngs=rngs)), params)(*rows, None, collect=collect)


def slow(config: EncoderConfig, params: dict, rows) -> jax.Array:
  """A plain loop over layers with each one's weights written out."""
  tokens, types, examples, positions = rows
  encoder = nnx.merge(abstract_module(lambda rngs: Encoder(config, rngs=rngs)), params)
  x = encoder.embeddings(tokens, types, positions, None)
  attend_rows = functools.partial(attend, example_ids_BT=examples, packed=True, implementation="xla", dropout_rate=0)
  flat = flatten_dict(params, sep="/")
  for layer in range(config.layers):
    x = x + flat["depth/embedding"][layer] if "depth/embedding" in flat else x
    for part in PARTS:
      weights = {path: flat[path][table[layer]] for path, table in config.tables.items() if path.startswith(part)}
      adapters = {
        name: tuple(flat[f"depth/{part}/{name}/{leaf}"][layer] for leaf in "ab")
        for name in MATRICES[part]
        if f"depth/{part}/{name}/a" in flat
      }
      scale = flat[f"depth/residual_{part}"][layer] if f"depth/residual_{part}" in flat else None
      graph = nnx.split(getattr(encoder, part))[0]
      x = nnx.merge(graph, unflatten_dict(weights, sep="/")[part])(x, attend_rows, None, Own(adapters, scale))
  return x


def random_config(seed: int) -> EncoderConfig:
  random = np.random.default_rng(seed)
  layers = int(random.integers(1, 7))

  def table():
    _, groups = np.unique(random.integers(0, layers, layers), return_inverse=True)
    return ",".join(map(str, groups))

  names = [name for name in LEAVES if random.random() < 0.5]
  depth = DepthConfig(
    lora=int(random.integers(0, 3)),
    lora_on=tuple(name for name in LEAVES[:-2] if random.random() < 0.5),
    embedding=str(random.choice(["none", "learned"])),
    residual=str(random.choice(["one", "learned"])),
  )
  return make(layers, table(), table(), depth, **{name: table() for name in names})


@pytest.mark.parametrize("seed", range(6))
def test_random_tables_of_all_leaves(seed):
  config = random_config(seed)
  params, rows = params_of(config, seed), make_rows()
  sizes = {"query": 64, "key": 64, "value": 64, "output": 64, "up": 96, "down": 96}
  biases = {**dict.fromkeys(sizes, 8), "up": 12}
  expected = 20 * 6 + 8 * 6 + 2 * 6 + 2 * 6 + 6 * 8 + 8
  for path, table in config.tables.items():
    _, module, leaf = path.split("/")
    size = 8 if module == "norm" else sizes[module] if leaf == "kernel" else biases[module]
    expected += sharing.num_groups(table) * size
  ends = dict.fromkeys(("query", "key", "value", "output"), 16) | {"up": 20, "down": 20}
  per_layer = config.depth.lora * sum(ends[name] for name in config.depth.lora_on)
  per_layer += 8 * (config.depth.embedding == "learned") + 2 * (config.depth.residual == "learned")
  assert sum(w.size for w in jax.tree.leaves(params)) == expected + config.layers * per_layer
  x = apply(config, params, rows)
  np.testing.assert_allclose(x, slow(config, params, rows), atol=1e-5)
  param_axes(lambda rngs: Encoder(config, rngs=rngs))  # every one is declared


def test_the_gradient_of_a_group_is_the_sum_over_its_layers():
  config = make(4, "cycle:2", "all", key="0,0,1,0", norm="none", bias="all")
  every = tuple(range(4))
  whole = dataclasses.replace(config, attn_table=every, ffn_table=every, leaf_tables=())
  params, rows = params_of(config, 0), make_rows()
  target = np.random.default_rng(1).normal(size=(2, 6, 8))

  def gradient(config, params):
    return flatten_dict(jax.grad(lambda p: jnp.sum(apply(config, p, rows) * target))(params), sep="/")

  flat = flatten_dict(params, sep="/")
  repeated = {path: w[np.array(config.tables[path])] if path in config.tables else w for path, w in flat.items()}
  tied, per_layer = gradient(config, params), gradient(whole, unflatten_dict(repeated, sep="/"))
  for path, table in config.tables.items():
    summed = np.zeros(tied[path].shape)
    np.add.at(summed, np.array(table), np.asarray(per_layer[path], np.float64))
    np.testing.assert_allclose(tied[path], summed, rtol=1e-5, atol=1e-5, err_msg=path)


@pytest.mark.parametrize("loop", ["scan", "unroll"])
def test_every_relaxation_is_neutral_at_step_0(loop):
  plain = dataclasses.replace(make(4), layer_loop=loop)
  relaxed = dataclasses.replace(plain, depth=ALL_OF_IT)
  params = params_of(relaxed)
  rest = {name: value for name, value in params.items() if name != "depth"}
  jax.tree.map(np.testing.assert_array_equal, rest, params_of(plain))
  np.testing.assert_array_equal(apply(relaxed, params, make_rows()), apply(plain, rest, make_rows()))
  gradient = jax.grad(lambda p: jnp.sum(jnp.sin(apply(relaxed, p, make_rows()))))(params)["depth"]
  assert all(np.abs(w).max() > 0 for path, w in flatten_dict(gradient, sep="/").items() if not path.endswith("/a"))


def test_relaxations_change_no_other_draw():
  """The heads are made after the encoder: what a layer has for itself must not move their random numbers."""

  def params(config):
    return init_params(lambda rngs: PretrainingModel(config, pair=True, rngs=rngs), jax.random.key(3))

  plain = params(make(4))
  for relaxed in (make(4, depth=ALL_OF_IT), make(4, norm="none", bias="none")):
    found = params(relaxed)
    for name in ("mlm", "pooler", "pair"):
      jax.tree.map(np.testing.assert_array_equal, found[name], plain[name])
    assert found["encoder"].keys() - {"depth"} == plain["encoder"].keys()


def test_low_rank_additions_are_drawn_apart():
  draws = [w for path, w in flatten_dict(params_of(make(3, depth=ALL_OF_IT)), sep="/").items() if path.endswith("/a")]
  values = np.concatenate([np.ravel(w) for w in draws])
  assert len(np.unique(values)) == values.size


def test_the_most_special_name_wins():
  tables = make(2, "all", "none", query="none", norm="all", bias="0,1").tables
  assert tables["attn/query/kernel"] == tables["attn/query/bias"] == tables["ffn/up/bias"] == (0, 1)
  assert tables["attn/key/kernel"] == tables["ffn/norm/scale"] == tables["attn/norm/bias"] == (0, 0)
  assert tables["attn/key/bias"] == tables["ffn/down/kernel"] == (0, 1)
  tables = make(2, "all", "all", query="none").tables
  assert tables["attn/query/bias"] == (0, 1)  # as its matrix


@pytest.mark.parametrize(
  "depth", [DepthConfig(), ALL_OF_IT, DepthConfig(embedding="sinusoid", residual="inverse"), DepthConfig(lora=3)]
)
@pytest.mark.parametrize("embedding", [6, 8])  # with a projection and without
def test_materialised_it_computes_the_same(depth, embedding):
  config = dataclasses.replace(make(4, "cycle:2", "all", depth, norm="none", up="0,0,1,1"), embedding=embedding)
  params, rows = params_of(config, 0), make_rows()
  every = tuple(range(4))
  own = dataclasses.replace(config, attn_table=every, ffn_table=every, leaf_tables=(), depth=DepthConfig())
  found = jax.tree.map(jnp.asarray, materialise(params, config))
  np.testing.assert_allclose(apply(own, found, rows), apply(config, params, rows), atol=2e-5)


def test_collected_outputs_are_those_of_fewer_layers():
  config = make(4, "cycle:2", "all")
  params, rows = params_of(config, 0), make_rows()
  out, collected = apply(config, params, rows, True)
  assert collected.shape == (5, *out.shape)
  np.testing.assert_array_equal(collected[4], out)
  for layers in (2, 3):
    cut = dataclasses.replace(config, layers=layers, attn_table=(0, 1, 0)[:layers], ffn_table=(0,) * layers)
    np.testing.assert_allclose(collected[layers], apply(cut, params, rows), atol=1e-6)


def test_inverse_divides_a_branch_by_its_readers():
  params, rows = params_of(make(2), 0), make_rows()
  inverse = make(2, depth=DepthConfig(residual="inverse"))
  learned = make(2, depth=DepthConfig(residual="learned"))
  half = {"residual_attn": jnp.full(2, 0.5), "residual_ffn": jnp.full(2, 0.5)}
  np.testing.assert_array_equal(apply(inverse, params, rows), apply(learned, {**params, "depth": half}, rows))


def test_readers_are_those_of_the_matrix_that_ends_a_branch():
  config = make(4, "all", "all", DepthConfig(residual="inverse"), output="none", down="0,0,0,1")
  found = fixed_inputs(config)
  np.testing.assert_allclose(found["residual_attn"], 1)
  np.testing.assert_allclose(found["residual_ffn"], [1 / 3, 1 / 3, 1 / 3, 1])


def test_a_sinusoid_is_added_before_each_layer():
  """As in arXiv 1807.03819: sines and cosines of the layer's number, counted from 1."""
  found = fixed_inputs(make(3, depth=DepthConfig(embedding="sinusoid")))["embedding"]
  for layer, column in ((0, 0), (2, 3), (1, 6)):
    angle = (layer + 1) / 10_000 ** ((column - column % 2) / 8)
    assert found[layer, column] == pytest.approx(np.sin(angle) if column % 2 == 0 else np.cos(angle), abs=1e-6)
  sinusoid, learned = (make(3, depth=DepthConfig(embedding=name)) for name in ("sinusoid", "learned"))
  params = params_of(make(3), 0)
  as_learned = apply(learned, {**params, "depth": {"embedding": jnp.asarray(found)}}, make_rows())
  np.testing.assert_array_equal(apply(sinusoid, params, make_rows()), as_learned)
  assert np.abs(as_learned - apply(make(3), params, make_rows())).max() > 0.1


def test_what_of_a_layer_s_own_is_a_vector():
  """Matrices are decayed, adapted and sharded; a scale that was decayed would go to 0."""
  depth = param_axes(lambda rngs: Encoder(make(3, depth=ALL_OF_IT), rngs=rngs))["depth"]
  assert depth["attn"]["query"] == {"a": Axes("GDR"), "b": Axes("GRHK")}
  assert depth["ffn"]["down"] == {"a": Axes("GFR"), "b": Axes("GRD")}
  for name in ("embedding", "residual_attn", "residual_ffn"):
    assert depth[name].is_vector


def test_low_rank_additions_cost_their_products():
  plain, lora = make(3), make(3, depth=DepthConfig(lora=2, lora_on=("query", "up")))
  more = [flops_per_token(config, length=8, predictions=1) for config in (plain, lora)]
  assert more[1] - more[0] == 3 * 3 * 2 * 2 * (8 + 8 + 8 + 12)


@pytest.mark.parametrize(
  ("settings", "message"),
  [
    (dict(lora_on=("querry",)), "query"),
    (dict(embedding="learnt"), "learned"),
    (dict(residual="inverted"), "inverse"),
    (dict(lora=-1), "lora"),
  ],
)
def test_bad_settings_are_named(settings, message):
  with pytest.raises(InputError, match=message):
    DepthConfig(**settings)
