import functools

import jax
import jax.numpy as jnp
import pytest
from jax.experimental import pallas as pl

from albert_jax.tools.planning.flops import matmul_flops
from albert_jax.training.sharding import make_mesh


def flops(function, *shapes):
  return matmul_flops(jax.make_jaxpr(function)(*(jnp.zeros(shape) for shape in shapes)).jaxpr)


def test_products_count_two_a_multiplication():
  assert flops(lambda a, b: jnp.einsum("bij,bjk->bik", a, b), (3, 4, 5), (3, 5, 6)) == 2 * 3 * 4 * 5 * 6


def test_loops_count_as_often_as_they_turn():
  def layers(x, w):
    return jax.lax.scan(lambda x, _: (jax.jit(jnp.dot)(x, w), None), x, length=7)[0]

  assert flops(layers, (2, 4), (4, 4)) == 7 * 2 * 2 * 4 * 4


@pytest.mark.parametrize(("again", "products"), [(False, 3), (True, 4)])
def test_what_the_backward_pass_computes_again_counts_again(again, products):
  def loss(x, w, v):
    layer = lambda x: jnp.tanh(x @ w)  # noqa: E731
    return jnp.sum(jnp.sin((jax.checkpoint(layer) if again else layer)(x) * v))

  assert flops(jax.grad(loss, argnums=(0, 1)), (8, 8), (8, 8), (8,)) == products * 2 * 8**3


def test_of_branches_the_dearest_counts():
  def either(x):
    return jax.lax.cond(x[0, 0] > 0, lambda x: x @ x @ x, lambda x: x @ x, x)

  assert flops(either, (4, 4)) == 2 * 2 * 4**3


def test_kernels_count_as_often_as_their_grid_has_points():
  def kernel(x_ref, y_ref, z_ref):
    z_ref[...] = x_ref[...] @ y_ref[...]

  def blocked(x, y):
    block = functools.partial(pl.BlockSpec, (8, 8))
    specs = dict(
      in_specs=[block(lambda i, j: (i, 0)), block(lambda i, j: (0, j))], out_specs=block(lambda i, j: (i, j))
    )
    shape = jax.ShapeDtypeStruct((16, 32), jnp.float32)
    return pl.pallas_call(kernel, grid=(2, 4), out_shape=shape, interpret=True, **specs)(x, y)

  assert flops(blocked, (16, 8), (8, 32)) == 2 * 16 * 8 * 32
  assert flops(jax.vmap(blocked), (3, 16, 8), (3, 8, 32)) == 3 * 2 * 16 * 8 * 32


def test_what_each_device_does_counts_for_all():
  mesh = make_mesh(dict(data=4, fsdp=2, tensor=1), jax.devices()[:8])
  rows = jax.sharding.PartitionSpec("data")
  mapped = jax.shard_map(jnp.dot, mesh=mesh, in_specs=(rows, jax.sharding.PartitionSpec()), out_specs=rows)
  assert flops(mapped, (8, 4), (4, 4)) == 2 * 2 * 8 * 4 * 4  # those along fsdp do the same
