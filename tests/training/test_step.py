import jax
import numpy as np
import pytest

from albert_jax.tasks import make_task
from albert_jax.training.program import make_program
from tests.builders import make_batch, override

# The first rate is 0 and the second update starts to tell, so several steps are compared.
STEPS = 3


def run_steps(config, mesh=(1, 1, 1), microbatches: int = 1):
  """Parameters and metrics after a few steps on the given mesh."""
  data, fsdp, tensor = mesh
  config = override(config, {"mesh.data": data, "mesh.fsdp": fsdp, "mesh.tensor": tensor})
  config = override(config, {"train.microbatches": microbatches})
  program = make_program(config, make_task(config), jax.devices()[: data * fsdp * tensor])
  state, history = program.init(0), []
  for seed in range(STEPS):
    state, terms = program.train_step(state, make_batch(config, seed), program.hyper)
    history.append({name: float(total) / float(weight) for name, (total, weight) in terms.items()})
  return program, state, history


def assert_close(a, b):
  """The same training, but for the order in which floats are added."""
  for left, right in zip(a[2], b[2], strict=True):
    assert left == pytest.approx(right, rel=2e-4)
  for left, right in zip(jax.tree.leaves(a[1].params), jax.tree.leaves(b[1].params), strict=True):
    np.testing.assert_allclose(left, right, rtol=2e-3, atol=2e-5)


@pytest.fixture
def one_device(small_config):
  return run_steps(small_config)


@pytest.mark.parametrize("mesh", [(8, 1, 1), (2, 2, 2), (1, 8, 1), (1, 2, 4)])
def test_a_mesh_changes_nothing(small_config, one_device, mesh):
  sharded = run_steps(small_config, mesh)
  assert_close(one_device, sharded)


@pytest.mark.parametrize("microbatches", [2, 4])
def test_microbatches_equal_the_whole_batch(small_config, one_device, microbatches):
  """Rows have uneven numbers of predictions, so a mean of the parts' means would differ."""
  assert_close(one_device, run_steps(small_config, (2, 2, 1), microbatches))


def test_training_moves_every_parameter(small_config, one_device):
  program, state, history = one_device
  start = program.init(0)
  for path, leaf in jax.tree_util.tree_leaves_with_path(state.params):
    before = dict(jax.tree_util.tree_leaves_with_path(start.params))[path]
    assert np.abs(leaf - before).max() > 0, path
  assert int(state.step) == STEPS
  assert history[0]["learning_rate"] == 0


def test_loss_weights_are_those_of_the_terms(small_config, small_batch):
  task = make_task(small_config)
  terms, outputs = task.forward(task.init(jax.random.key(0)), small_batch, None)
  assert outputs == {}
  for name, weight in task.loss_weights(small_batch).items():
    assert float(terms[name][1]) == pytest.approx(float(weight))


def test_a_batch_without_any_label_is_finite(small_config, small_batch):
  program = make_program(small_config, make_task(small_config), jax.devices()[:1])
  small_batch["mlm_weights"][:] = small_batch["pair_weights"][:] = 0
  state, _ = program.train_step(program.init(0), small_batch, program.hyper)
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state.params))


def test_a_bad_row_on_a_mesh_leaves_every_shard_as_it_was(small_config):
  config = override(small_config, {"mesh.data": 2, "mesh.fsdp": 2, "mesh.tensor": 2, "train.microbatches": 2})
  program = make_program(config, make_task(config))
  state, _ = program.train_step(program.init(0), make_batch(config, 0), program.hyper)
  before = jax.device_get(state)
  batch = make_batch(config, 1)
  batch["mlm_weights"][-1, 0] = np.inf
  after, terms = program.train_step(state, batch, program.hyper)
  assert float(terms["skipped_steps"][0]) == 1
  assert (int(after.step), int(after.guard.skipped)) == (2, 1)
  for new, old in zip(jax.tree.leaves((after.params, after.opt)), jax.tree.leaves((before.params, before.opt))):
    for shard in new.addressable_shards:
      np.testing.assert_array_equal(shard.data, old[shard.index])


def test_dropout_differs_by_step_and_seed_and_by_nothing_else(small_config, small_batch):
  override(small_config, {"model.dropout": 0.3})

  def loss(seed, step):
    program = make_program(override(small_config, {"seed": seed}), make_task(small_config), jax.devices()[:1])
    state = program.init(0)
    _, terms = program.train_step(state._replace(step=state.step + step), small_batch, program.hyper)
    return float(terms["mlm_loss"][0])

  assert loss(0, 1) == loss(0, 1)
  assert len({loss(0, 0), loss(0, 1), loss(1, 1)}) == 3


def test_the_state_is_donated_and_nothing_compiles_twice(small_config):
  program = make_program(small_config, make_task(small_config), jax.devices()[:1])
  state = program.init(0)
  for seed in range(3):
    old = state
    state, _ = program.train_step(state, make_batch(small_config, seed), program.hyper)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(old))
  assert program.train_step._cache_size() == 1


def test_logits_are_never_made_for_every_position(small_config):
  """The masked-LM head works on gathered positions: no array has both T and V."""
  config = override(small_config, {"model.vocab_size": 61})
  program = make_program(config, make_task(config), jax.devices()[:1])
  specs = program.task.batch_specs(config.train.batch_size)
  text = program.train_step.lower(program.state, specs, program.hyper).as_text()
  rows, length = specs["tokens"].shape
  assert f"{rows}x{specs['mlm_positions'].shape[1]}x61x" in text
  assert f"x{length}x61x" not in text
  assert f"<{rows * length}x61x" not in text
