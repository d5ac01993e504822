import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from flax.traverse_util import flatten_dict, unflatten_dict

from albert_jax.models import sharing
from albert_jax.models.attention import attend
from albert_jax.models.encoder import PARTS, Encoder, cast_kernels
from albert_jax.models.sizes import EncoderConfig
from tests.builders import make_encoder_config

LAYERS = 4
NUMBERS = {"": "", "G": ":2", "P-K-C": ":1-1-2"}
SCHEMES = [name + NUMBERS[names] for name, (_, names) in sharing.SCHEMES.items()] + ["1,0,1,2"]


def make_config(attn="all", ffn="all", **more) -> EncoderConfig:
  shape = dict(vocab_size=40, embedding=8, width=12, layers=LAYERS, heads=3, ffn=20, positions=16)
  return make_encoder_config(attn, ffn, **shape | more)


def make_encoder(config: EncoderConfig):
  """Parameters with every entry random (so that no bias or LayerNorm is neutral), and the function of them."""
  definition, state = nnx.split(Encoder(config, rngs=nnx.Rngs(0)))
  leaves, structure = jax.tree.flatten(nnx.to_pure_dict(state))
  random = np.random.default_rng(0)
  params = jax.tree.unflatten(structure, [jnp.asarray(w + 0.2 * random.normal(size=w.shape), "f4") for w in leaves])

  @jax.jit
  def apply(params, rows, rng=None):
    return nnx.merge(definition, params)(*rows, rng)

  return params, apply


def make_rows(rows: int = 3, length: int = 10, seed: int = 0):
  random = np.random.default_rng(seed)
  tokens = random.integers(0, 40, (rows, length))
  types = random.integers(0, 2, (rows, length))
  return tokens, types, np.ones((rows, length), np.int32), np.tile(np.arange(length), (rows, 1))


@functools.partial(jax.jit, static_argnums=0)
def unrolled(config: EncoderConfig, params, rows):
  """The encoder as a plain loop that looks up each layer's weights: what the scan must equal."""
  definition, _ = nnx.split(nnx.eval_shape(lambda: Encoder(config, rngs=nnx.Rngs(0))))
  encoder = nnx.merge(definition, params)
  tokens, types, examples, positions = rows
  x = encoder.embeddings(tokens, types, positions, None)
  attend_rows = functools.partial(attend, example_ids_BT=examples, packed=True, implementation="xla", dropout_rate=0)
  for layer in range(config.layers):
    for part in PARTS:
      definition, state = nnx.split(getattr(encoder, part))
      stacks = flatten_dict({part: nnx.to_pure_dict(state)}, sep="/")
      own = {path: stack[config.tables[path][layer]] for path, stack in stacks.items()}
      x = nnx.merge(definition, unflatten_dict(own, sep="/")[part])(x, attend_rows, None)
  return x


@pytest.mark.parametrize(("attn", "ffn"), list(zip(SCHEMES, SCHEMES[3:] + SCHEMES[:3])))
def test_scan_equals_unrolled_loop(attn, ffn):
  config = make_config(attn, ffn)
  params, apply = make_encoder(config)
  rows = make_rows()
  target = np.random.default_rng(1).normal(size=(3, 10, 12))

  def outputs_and_gradient(function):
    def loss(params):
      x = function(params)
      return jnp.sum(x * target), x

    gradient, x = jax.jit(jax.grad(loss, has_aux=True))(params)
    return x, gradient

  x, gradient = outputs_and_gradient(lambda p: apply(p, rows))
  expected, expected_gradient = outputs_and_gradient(lambda p: unrolled(config, p, rows))
  np.testing.assert_allclose(x, expected, rtol=1e-5, atol=1e-5)
  largest = max(np.abs(leaf).max() for leaf in jax.tree.leaves(expected_gradient))
  for a, b in zip(jax.tree.leaves(gradient), jax.tree.leaves(expected_gradient), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6 * largest)  # those of the key's bias are zero


def test_layers_read_their_own_group():
  config = make_config("0,1,0,2", "all")
  params, apply = make_encoder(config)
  rows = make_rows()
  for group in range(3):
    changed = jax.tree.map(lambda w: w, params)
    changed["attn"]["query"]["kernel"] = params["attn"]["query"]["kernel"].at[group].add(0.5)
    x = apply(changed, rows)
    assert np.abs(x - apply(params, rows)).max() > 1e-3
    np.testing.assert_allclose(x, unrolled(config, changed, rows), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("remat", "layer_loop"), [("full", "scan"), ("dots", "scan"), ("full", "unroll")])
def test_remat_and_loop_change_nothing_but_memory(remat, layer_loop):
  base = make_config("cycle:2", "all", dropout=0.1, attention_dropout=0.1)
  params, _ = make_encoder(base)
  rows, rng = make_rows(), jax.random.key(3)

  def gradient(config):
    _, apply = make_encoder(config)
    return jax.jit(jax.grad(lambda p: jnp.sum(jnp.sin(apply(p, rows, rng)))))(params)

  def saved(config):
    _, apply = make_encoder(config)
    pullback = jax.eval_shape(lambda p: jax.vjp(lambda p: apply(p, rows, rng), p)[1], params)
    return sum(leaf.size for leaf in jax.tree.leaves(pullback))

  other = dataclasses.replace(base, remat=remat, layer_loop=layer_loop)
  for a, b in zip(jax.tree.leaves(gradient(base)), jax.tree.leaves(gradient(other))):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
  assert saved(other) < 0.9 * saved(dataclasses.replace(base, layer_loop=layer_loop))


def test_padding_changes_nothing():
  params, apply = make_encoder(make_config("none", "all"))
  tokens, types, examples, positions = make_rows(length=10)
  examples[:, 7:] = 0
  x = apply(params, (tokens, types, examples, positions))
  alone = apply(params, tuple(field[:, :7] for field in (tokens, types, examples, positions)))
  np.testing.assert_allclose(x[:, :7], alone, rtol=1e-5, atol=1e-5)
  tokens[:, 7:] = (tokens[:, 7:] + 1) % 40
  np.testing.assert_array_equal(apply(params, (tokens, types, examples, positions))[:, :7], x[:, :7])
  assert np.isfinite(x).all()


def test_a_packed_example_equals_itself_alone():
  params, apply = make_encoder(make_config("sandwich", "cycle:2"))
  lengths = (4, 5, 3)
  rows = [make_rows(rows=1, length=length, seed=length) for length in lengths]
  packed = [np.concatenate([row[field] for row in rows], axis=1) for field in range(4)]
  packed[2] = np.repeat([1, 2, 3], lengths)[None]
  packed = [np.pad(field, ((0, 0), (0, 4))) for field in packed]
  x = apply(params, packed)
  start = 0
  for row, length in zip(rows, lengths):
    np.testing.assert_allclose(x[:, start : start + length], apply(params, row), rtol=1e-5, atol=1e-5)
    start += length


def test_no_information_flows_between_packed_examples():
  params, apply = make_encoder(make_config())
  tokens, types, _, positions = make_rows(rows=1, length=8)
  examples = np.repeat([1, 2], 4)[None]

  def first_example(word):
    changed = jax.tree.map(lambda w: w, params)
    changed["embeddings"]["position"] = params["embeddings"]["position"] + word
    return apply(changed, (tokens, types, examples, positions))[0, :4].sum()

  gradient = jax.grad(first_example)(jnp.zeros((16, 8)))
  assert np.abs(gradient[:4]).max() > 0
  np.testing.assert_array_equal(gradient[4:], 0)


def test_a_row_of_padding_only_is_finite():
  params, apply = make_encoder(make_config())
  tokens, types, examples, positions = make_rows(rows=2)
  examples[1] = 0

  def loss(p):
    return jnp.sum(apply(p, (tokens, types, examples, positions))[0])

  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(jax.grad(loss)(params)))


def test_bfloat16_is_close_to_float32():
  params, apply = make_encoder(make_config("none", "none"))
  _, half = make_encoder(make_config("none", "none", dtype=jnp.bfloat16))
  x = half(params, make_rows())
  assert x.dtype == jnp.bfloat16
  np.testing.assert_allclose(np.asarray(x, "f4"), apply(params, make_rows()), atol=0.15)


def test_weights_are_cast_outside_the_layer_loop():
  params, apply = make_encoder(make_config("all", "none", dtype=jnp.bfloat16))
  jaxpr = jax.make_jaxpr(lambda p: apply.__wrapped__(p, make_rows()))(params)
  (scan,) = [equation for equation in jaxpr.eqns if equation.primitive.name == "scan"]
  kernels = {(12, 3, 4), (3, 4, 12), (12, 20), (20, 12), (12, 12)}
  casts = [e for e in scan.params["jaxpr"].jaxpr.eqns if e.primitive.name == "convert_element_type"]
  assert casts  # LayerNorm's
  assert not [e for e in casts if e.invars[0].aval.shape in kernels]


def test_layer_norms_stay_float32():
  norm, kernel = jnp.full(2, 1 + 2**-12), jnp.ones((2, 2))
  cast = cast_kernels({"attn/norm/scale": norm, "ffn/norm/bias": norm, "ffn/up/kernel": kernel}, jnp.bfloat16)
  assert {path: str(w.dtype) for path, w in cast.items()} == {
    "attn/norm/scale": "float32",
    "ffn/norm/bias": "float32",
    "ffn/up/kernel": "bfloat16",
  }


@pytest.mark.parametrize("name", ["dropout", "attention_dropout"])
def test_dropout_acts_only_with_a_key_and_differs_by_layer_and_key(name):
  params, apply = make_encoder(make_config(**{name: 0.5}))
  rows = make_rows()
  plain = apply(params, rows)
  first, second = (apply(params, rows, jax.random.key(seed)) for seed in (0, 1))
  assert np.abs(first - plain).max() > 1e-3
  assert np.abs(first - second).max() > 1e-3
  np.testing.assert_array_equal(first, apply(params, rows, jax.random.key(0)))
