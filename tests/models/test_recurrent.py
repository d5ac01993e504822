"""LSTM and GRU encoders equal plain loops, keep packed examples apart, and read their weights by table."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from albert_jax.errors import InputError
from albert_jax.models.encoder import make_encoder
from albert_jax.models.sizes import EncoderConfig

KINDS = ("lstm", "gru")
LENGTHS = (7, 4, 1)


def make_config(kind: str, **more) -> EncoderConfig:
  shape = dict(vocab_size=40, embedding=8, width=12, layers=2, heads=1, ffn=1, positions=16)
  return EncoderConfig(**{**shape, "attn_table": (0, 0), "ffn_table": (0, 0), "kind": kind, **more})


def make(config: EncoderConfig):
  """Parameters with every entry random, and the function of (params, rows)."""
  definition, state = nnx.split(make_encoder(config, rngs=nnx.Rngs(0)))
  random = np.random.default_rng(0)
  params = jax.tree.map(lambda w: jnp.asarray(w + 0.2 * random.normal(size=w.shape), "f4"), nnx.to_pure_dict(state))
  return params, lambda params, rows, **more: nnx.merge(definition, params)(*rows, None, **more)


def make_rows(lengths=LENGTHS):
  random = np.random.default_rng(1)
  shape = (len(lengths), max(lengths) + 1)
  real = np.arange(shape[1]) < np.array(lengths)[:, None]
  positions = np.arange(shape[1]) * real
  return random.integers(0, 40, shape) * real, random.integers(0, 2, shape) * real, real.astype(np.int32), positions


@pytest.mark.parametrize("kind", KINDS)
def test_both_equal_torch(kind):
  torch = pytest.importorskip("torch", reason="of the extra test-all")
  config = make_config(kind)
  params, apply = make(config)
  rows = make_rows()
  x_BTD, x_LBTD = apply(params, rows, collect=True)
  theirs = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[kind](12, 6, 2, bidirectional=True, batch_first=True)
  with torch.no_grad():
    for module, name in (("input", "ih"), ("hidden", "hh")):
      for layer in range(2):
        for way, suffix in enumerate(("", "_reverse")):
          of = {leaf: np.array(params["rnn"][module][leaf][layer, way]) for leaf in ("kernel", "bias")}
          getattr(theirs, f"weight_{name}_l{layer}{suffix}").copy_(torch.tensor(of["kernel"].T))
          getattr(theirs, f"bias_{name}_l{layer}{suffix}").copy_(torch.tensor(of["bias"]))
    utils = torch.nn.utils.rnn
    packed = utils.pack_padded_sequence(torch.tensor(np.array(x_LBTD[0])), list(LENGTHS), batch_first=True)
    expected, _ = utils.pad_packed_sequence(theirs(packed)[0], batch_first=True, total_length=x_BTD.shape[1])
  np.testing.assert_allclose(x_BTD, expected.numpy(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_packed_examples_do_not_meet(kind):
  params, apply = make(make_config(kind))
  tokens, types, _, _ = rows = make_rows()
  alone = apply(params, rows)
  parts = [np.concatenate([field[r, :n] for r, n in enumerate(LENGTHS)] + [[0, 0]])[None] for field in (tokens, types)]
  ids = np.repeat([1, 2, 3, 0], [*LENGTHS, 2])[None]
  together = apply(params, (*parts, ids, np.concatenate([*map(np.arange, LENGTHS), [0, 0]])[None]))
  split = np.split(together[0], np.cumsum(LENGTHS))
  for r, n in enumerate(LENGTHS):
    np.testing.assert_allclose(split[r], alone[r, :n], rtol=0, atol=1e-6)
  assert not split[3].any()  # padding
  assert np.abs(together).max() > 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_a_shared_table_computes_what_its_unshared_copy_does(kind):
  config = make_config(kind, layers=3, attn_table=(0,) * 3, ffn_table=(0,) * 3, rnn_table=(0, 1, 0))
  params, apply = make(config)
  assert {leaf.shape[0] for leaf in jax.tree.leaves(params["rnn"])} == {2}
  own = dataclasses.replace(config, rnn_table=())
  copied = {**params, "rnn": jax.tree.map(lambda w: w[np.array([0, 1, 0])], params["rnn"])}
  np.testing.assert_array_equal(apply(params, make_rows()), make(own)[1](copied, make_rows()))


@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_and_both_directions_are_used(kind):
  params, apply = make(make_config(kind))
  rows = make_rows()
  gradients = jax.grad(lambda params: jnp.sum(jnp.sin(apply(params, rows))))(params)
  assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(gradients))
  x = apply(params, rows)
  changed = rows[0].copy()
  changed[0, 3] = (changed[0, 3] + 1) % 40
  moved = np.abs(apply(params, (changed, *rows[1:])) - x).max(axis=-1)
  assert (moved[0, : LENGTHS[0]] > 0).all()  # before and after it
  assert not moved[1:].any()


@pytest.mark.parametrize(
  ("more", "message"),
  [
    ({"heads": 2}, "model.heads is for transformers: leave it at 1 for model.kind lstm"),
    ({"remat": "full"}, "model.remat is for transformers"),
    ({"attn_table": (0, 1)}, r"model.sharing.attn is for transformers.* model.sharing.rnn"),
    ({"leaf_tables": (("norm", (0, 1)),)}, "model.sharing.norm is for transformers"),
    ({"width": 13}, "model.width 13 must be even"),
    ({"kind": "transformer", "rnn_table": (0, 0)}, "model.sharing.rnn is for"),
    ({"kind": "rnn"}, 'Unknown model.kind "rnn"'),
  ],
)
def test_what_does_not_apply_is_refused(more, message):
  with pytest.raises(InputError, match=message):
    make_config(**{"kind": "lstm", **more})
