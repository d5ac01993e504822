import os
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest

from albert_jax.checkpoints import manager
from albert_jax.checkpoints.manager import Checkpoints
from albert_jax.errors import InputError
from albert_jax.tasks import make_task
from albert_jax.training.program import make_program
from tests.builders import override


class Small(NamedTuple):
  """Stands in for a train state where any will do."""

  step: jax.Array
  params: dict


SMALL = Small(jnp.int32(0), {"bias": jnp.arange(3.0)})


@pytest.fixture
def program(small_config):
  return make_program(small_config, make_task(small_config), jax.devices()[:1])


def save(workdir, state, steps, **options):
  checkpoints = Checkpoints(workdir, **options)
  for step in steps:
    checkpoints.save(state, step)
  checkpoints.close()


def assert_same(a, b):
  for left, right in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
    assert left.dtype == right.dtype
    np.testing.assert_array_equal(left, right)


def test_what_was_saved_comes_back(program, tmp_path):
  state = program.init(3)
  save(tmp_path, state, [5])
  checkpoints = Checkpoints(tmp_path)
  restored = checkpoints.restore(program.state)
  assert checkpoints.latest() == 5
  assert jax.tree.structure(restored) == jax.tree.structure(state)
  assert_same(restored, state)
  assert_same(checkpoints.restore_params(program.state.params), state.params)


def test_a_checkpoint_is_a_plain_dictionary(program, tmp_path):
  save(tmp_path, program.init(0), [1])
  tree = ocp.PyTreeCheckpointHandler().metadata(tmp_path / manager.FOLDER / "1" / "default").tree
  assert set(tree) == set(program.state._fields)
  assert type(tree["params"]["encoder"]["attn"]) is dict


def test_restore_to_another_mesh(program, small_config, tmp_path):
  state = program.init(3)
  save(tmp_path, state, [1])
  other = make_program(override(small_config, {"mesh.data": 2, "mesh.fsdp": 2, "mesh.tensor": 2}), program.task)
  restored = Checkpoints(tmp_path).restore(other.state)
  assert_same(restored, state)
  for leaf, wanted in zip(jax.tree.leaves(restored), jax.tree.leaves(other.state), strict=True):
    assert leaf.sharding == wanted.sharding


def test_the_newest_stay_and_those_at_the_interval(tmp_path):
  save(tmp_path, SMALL, range(1, 8), keep=2, keep_every=3)
  assert sorted(os.listdir(tmp_path / manager.FOLDER)) == ["3", "6", "7"]


def test_a_folder_of_another_name(tmp_path):
  save(tmp_path, SMALL, [1], folder="best")
  assert Checkpoints(tmp_path, folder="best").latest() == 1
  assert Checkpoints(tmp_path).latest() is None


def test_due_steps(tmp_path):
  checkpoints = Checkpoints(tmp_path, every=5)
  assert [step for step in range(1, 12) if checkpoints.is_due(step)] == [5, 10]


def test_a_missing_step_is_named(tmp_path):
  save(tmp_path, SMALL, [1, 2], keep=5)
  with pytest.raises(InputError, match=r"no checkpoint of step 7; it has \[1, 2\]"):
    Checkpoints(tmp_path).restore(SMALL, 7)
  with pytest.raises(InputError, match="does not exist"):
    Checkpoints(tmp_path / "nowhere", read_only=True)
  with pytest.raises(InputError, match="holds no checkpoint"):
    Checkpoints(tmp_path / "new").restore(SMALL)


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"model.width": 64, "model.embedding": 16}, "the config asks for"),
    ({"model.sharing.ffn": "none"}, r"\['ffn'\].* the config asks for"),
    ({"data.pair_objective": "none"}, None),  # fewer parameters are wanted than there are: fine
  ],
)
def test_another_shape_is_refused_by_name(program, small_config, tmp_path, change, message):
  save(tmp_path, program.init(0), [1])
  config = override(small_config, change)
  other = make_program(config, make_task(config), jax.devices()[:1])
  if message is None:
    Checkpoints(tmp_path).restore_params(other.state.params)
  else:
    with pytest.raises(InputError, match=message):
      Checkpoints(tmp_path).restore(other.state)


def test_a_dtype_is_never_cast(program, tmp_path):
  save(tmp_path, program.init(0), [1])
  half = jax.tree.map(
    lambda leaf: jax.ShapeDtypeStruct(leaf.shape, "bfloat16", sharding=leaf.sharding), program.state.params
  )
  with pytest.raises(InputError, match="bfloat16"):
    Checkpoints(tmp_path).restore_params(half)
