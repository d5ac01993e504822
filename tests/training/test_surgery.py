"""A run that starts from another with other sharing tables, another depth or parts of each layer's own."""

import jax
import numpy as np
import pytest

from albert_jax.checkpoints.manager import Checkpoints
from albert_jax.config import save_config
from albert_jax.errors import InputError
from albert_jax.interop.pretrained import open_pretrained
from albert_jax.optim.optimizer import MomentsState
from albert_jax.tasks import make_task, resolve
from albert_jax.training import loop
from albert_jax.training.program import make_program
from albert_jax.training.step import TrainState
from configs import albert_tiny
from tests.builders import make_batch, override

NONE = {"model.sharing.attn": "none", "model.sharing.ffn": "none"}
ALL = dict.fromkeys(NONE, "all")
SHAPE = {"model.vocab_size": 64, "model.layers": 4, "model.heads": 4, "model.dropout": 0.0, "train.batch_size": 16}


def make(config, devices: int = 1):
  return make_program(config, make_task(config), jax.devices()[:devices])


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
  """A workdir whose model shares everything, with random parameters and moments; and its program."""
  program = make(override(albert_tiny.get_config("test"), SHAPE))
  random = np.random.default_rng(0)
  state = jax.tree.map(lambda w: np.asarray(w + 0.2 * random.random(w.shape), w.dtype), program.init(0))
  return save(tmp_path_factory.mktemp("run") / "all", program.config, state), program.config


def save(folder, config, state) -> str:
  save_config(config, str(folder))
  checkpoints = Checkpoints(str(folder))
  checkpoints.save(state, 7)
  checkpoints.close()
  return str(folder)


def begin(folder, config, devices: int = 1, **values):
  """The first state of a run that starts from a folder, and its program."""
  config = override(config.copy_and_resolve_references(), {"init_from": folder, **values})
  source = resolve(config, open_pretrained(folder))
  program = make(config, devices)
  return loop.new_state(program, source, lambda _: None), program


def loss(state, program) -> float:
  terms, _ = program.eval_step(state.params, make_batch(program.config, 0))
  return float(terms["mlm_loss"][0])


def moments(state):
  (found,) = (part for part in state.opt if isinstance(part, MomentsState))
  return found


def test_an_unshared_model_starts_at_the_same_loss(shared):
  expected = loss(*begin(*shared))
  for devices, mesh in ((1, {}), (8, {"mesh.fsdp": 2, "mesh.tensor": 2})):
    state, program = begin(*shared, devices, **NONE, **mesh)
    assert state.params["encoder"]["attn"]["query"]["kernel"].shape[0] == 4
    assert jax.tree.map(lambda w: w.sharding, state.params) == program.shardings.params
    assert loss(state, program) == pytest.approx(expected, rel=1e-6)


def test_moments_follow_where_they_are_asked_for(shared, tmp_path):
  old, _ = begin(*shared, init_optimizer="copy")
  mu, nu = (moments(old)[n]["encoder"]["ffn"]["up"]["kernel"] for n in (1, 2))
  assert np.abs(mu).max() > 0
  assert int(moments(old).count) == 0  # as it was saved
  new, program = begin(*shared, init_optimizer="parallel", **NONE)
  for layer in range(4):
    np.testing.assert_allclose(moments(new).mu["encoder"]["ffn"]["up"]["kernel"][layer], mu[0] / 4, rtol=1e-6)
    np.testing.assert_allclose(moments(new).nu["encoder"]["ffn"]["up"]["kernel"][layer], nu[0] / 16, rtol=1e-6)
  jax.tree.map(np.testing.assert_array_equal, moments(new).nu["mlm"], moments(old).nu["mlm"])
  independent, _ = begin(*shared, init_optimizer="independent", **NONE)
  np.testing.assert_allclose(moments(independent).nu["encoder"]["ffn"]["up"]["kernel"][1], nu[0] / 4, rtol=1e-6)
  folder = save(tmp_path / "none", program.config, new)
  back, _ = begin(folder, program.config, init_optimizer="parallel", **ALL)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=3e-7), back.params, old.params)
  for name in ("mu", "nu"):
    trees = (getattr(moments(state), name) for state in (back, old))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=5e-7), *trees)
  plain, _ = begin(*shared, **NONE)
  assert not any(np.any(w) for w in jax.tree.leaves(moments(plain).nu))


def test_another_depth_and_low_rank_additions(shared):
  assert loss(*begin(*shared, **{"model.layers": 4})) == loss(*begin(*shared))
  deep, program = begin(*shared, **{"model.layers": 8})
  assert np.isfinite(loss(deep, program))
  state, _ = begin(*shared, init_rule="svd", **{"model.depth.lora": 2})
  assert np.abs(state.params["encoder"]["depth"]["attn"]["key"]["b"]).max() < 1e-5


def test_an_imported_model_is_unshared(shared, tmp_path):
  """A folder without an optimizer: an import, which is a checkpoint of step 0, or Hugging Face's own format."""
  folder, config = shared
  params = begin(folder, config)[0].params
  imported = save(tmp_path / "imported", config, TrainState(np.int32(0), params, ()))
  state, program = begin(imported, config, **NONE)
  assert loss(state, program) == pytest.approx(loss(*begin(folder, config)), rel=1e-6)
  with pytest.raises(InputError, match=f"init_optimizer: {imported}.*Leave it at new"):
    begin(imported, config, init_optimizer="parallel", **NONE)


@pytest.mark.parametrize(
  ("values", "message"),
  [
    ({"model.ffn": 80}, r"ffn/down/kernel is \[1, 64, 32\] there, this config asks for \[1, 80, 32\].*model"),
    ({"init_rule": "svd"}, r"give their rank, model\.depth\.lora"),
    ({"init_rule": "svd", "init_optimizer": "copy", "model.depth.lora": 2}, "Leave it at new"),
  ],
)
def test_what_does_not_fit_is_named(shared, values, message):
  with pytest.raises(InputError, match=message):
    begin(*shared, **values)


def test_tables_by_leaf_come_from_the_start_where_the_config_has_no_tables(shared, tmp_path):
  folder, config = shared
  own_norms, program = begin(folder, config, **{"model.sharing.norm": "none"})
  inner = save(tmp_path / "norms", program.config, own_norms)
  again, _ = begin(inner, config, **{"model.sharing.attn": "", "model.sharing.ffn": ""})
  assert again.params["encoder"]["attn"]["norm"]["scale"].shape[0] == 4
  plain, _ = begin(inner, config)
  assert plain.params["encoder"]["attn"]["norm"]["scale"].shape[0] == 1
