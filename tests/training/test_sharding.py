import re

import jax
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from albert_jax.errors import InputError
from albert_jax.tasks import make_task
from albert_jax.training import sharding
from albert_jax.training.program import make_program
from tests.builders import override

EIGHT = dict(data=2, fsdp=2, tensor=2)


def test_minus_one_takes_the_rest():
  assert dict(sharding.make_mesh(dict(data=-1, fsdp=2, tensor=1)).shape) == dict(data=4, fsdp=2, tensor=1)


@pytest.mark.parametrize("sizes", [(3, 1, 1), (-1, 3, 1), (16, 1, 1), (0, 1, 8), (-1, -1, 1), (4, 1, 1)])
def test_a_mesh_that_does_not_fit_is_refused(sizes):
  with pytest.raises(InputError, match="data × fsdp × tensor"):
    sharding.make_mesh(dict(zip(sharding.AXES, sizes)))


def test_where_parameters_lie(small_config):
  program = make_program(override(small_config, {f"mesh.{k}": v for k, v in EIGHT.items()}), make_task(small_config))
  specs = jax.tree.map(lambda leaf: leaf.sharding.spec, program.state.params)
  encoder = specs["encoder"]
  assert encoder["embeddings"]["word"] == P("tensor", "fsdp")
  assert encoder["attn"]["query"]["kernel"] == P(None, "fsdp", "tensor", None)
  assert encoder["attn"]["output"]["kernel"] == P(None, "tensor", None, "fsdp")
  assert encoder["ffn"]["up"]["kernel"] == P(None, "fsdp", "tensor")
  assert encoder["ffn"]["down"]["kernel"] == P(None, "tensor", "fsdp")
  assert encoder["attn"]["query"]["bias"] == P(None, None, None)
  moments = program.state.opt[1]
  assert jax.tree.map(lambda leaf: leaf.sharding.spec, moments.mu) == specs
  assert moments.count.sharding.spec == P()


def test_a_dim_that_the_axis_does_not_divide_stays_whole(small_config):
  override(small_config, {"model.vocab_size": 61, "mesh.data": 2, "mesh.fsdp": 1, "mesh.tensor": 4})
  program = make_program(small_config, make_task(small_config))
  assert program.state.params["encoder"]["embeddings"]["word"].sharding.spec == P(None, "fsdp")


def test_the_state_is_born_sharded(small_config):
  program = make_program(override(small_config, {f"mesh.{k}": v for k, v in EIGHT.items()}), make_task(small_config))
  kernel = program.init(0).params["encoder"]["ffn"]["up"]["kernel"]
  assert kernel.addressable_shards[0].data.size * 4 == kernel.size
  alone = make_program(override(small_config, dict.fromkeys(["mesh.data", "mesh.fsdp", "mesh.tensor"], 1)),
                       make_task(small_config), jax.devices()[:1])  # fmt: skip
  for a, b in zip(jax.tree.leaves(program.init(0)), jax.tree.leaves(alone.init(0)), strict=True):
    np.testing.assert_array_equal(a, b)


def test_batches_reach_the_devices_that_own_their_rows():
  mesh = sharding.make_mesh(EIGHT)
  rows = np.arange(24).reshape(12, 2)
  place = sharding.batch_sharding(mesh)
  assert sharding.local_rows(place, 12) == (0, 12)
  array = sharding.to_devices({"x": rows}, place, 12)["x"]
  np.testing.assert_array_equal(array, rows)
  for shard in array.addressable_shards:
    np.testing.assert_array_equal(shard.data, rows[shard.index])
    assert shard.data.shape == (3, 2)


def test_a_batch_that_does_not_split_is_refused_with_the_nearest_that_do():
  mesh = sharding.make_mesh(EIGHT)
  with pytest.raises(InputError, match=r"train.batch_size 12 .* multiple of 8 .* 8, 16"):
    sharding.check_batch_size("train.batch_size", 12, mesh, microbatches=2)
  sharding.check_batch_size("train.batch_size", 16, mesh, microbatches=2)


def collectives(config, mesh: tuple[int, int, int]) -> set[tuple[int, ...]]:
  """Shapes that the compiled train step gathers or permutes."""
  config = override(config, dict(zip(["mesh.data", "mesh.fsdp", "mesh.tensor"], mesh)))
  program = make_program(config, make_task(config))
  specs = program.task.batch_specs(config.train.batch_size)
  text = program.train_step.lower(program.state, specs, program.hyper).compile().as_text()
  found = re.findall(r"= \w+\[([\d,]*)\]\S* (?:all-gather|all-to-all|collective-permute)\(", text)
  return {tuple(map(int, filter(None, shape.split(",")))) for shape in found}


def test_fsdp_gathers_weights_and_never_rows(small_config):
  """A device works on its own rows: left alone, XLA would split widths instead, and repeat every row everywhere."""
  rows, length = 24, 40
  config = override(small_config, {"train.batch_size": rows, "data.max_length": length, "model.sharing.ffn": "none"})
  shapes = collectives(config, (1, 8, 1))
  assert (64, 16) in shapes  # the word table
  activations = [shape for shape in shapes if {rows, rows * length, rows // 8 * length} & {*shape}]
  assert not activations


def test_pure_data_parallelism_gathers_nothing(small_config):
  assert not collectives(small_config, (8, 1, 1))
