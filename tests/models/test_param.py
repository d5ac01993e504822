import jax.numpy as jnp
import pytest
from flax import nnx

from albert_jax.models.heads import PretrainingModel
from albert_jax.models.param import Axes, constant, param_axes, weight
from tests.builders import make_encoder_config

SHAPE = dict(vocab_size=11, embedding=4, width=6, layers=2, heads=3, ffn=7, positions=5)


class Undeclared(nnx.Module):
  def __init__(self, rngs: nnx.Rngs):
    self.declared = weight("DE", (2, 3), rngs)
    self.gate = nnx.Param(jnp.zeros((2, 3)))


class OfAnotherRank(nnx.Module):
  def __init__(self, rngs: nnx.Rngs):
    self.gate = constant("D", (2, 3), 0.0)


@pytest.mark.parametrize("module", [Undeclared, OfAnotherRank])
def test_a_parameter_without_fitting_axes_is_named(module):
  with pytest.raises(ValueError, match=r"gate of shape \(2, 3\)"):
    param_axes(module)


def test_axes_of_a_model():
  config = make_encoder_config("all", "none", **SHAPE)
  axes = param_axes(lambda rngs: PretrainingModel(config, pair=True, rngs=rngs))
  encoder = axes["encoder"]
  assert encoder["embeddings"]["word"] == Axes("VE")
  assert encoder["attn"]["query"] == {"kernel": Axes("GDHK"), "bias": Axes("GHK", is_vector=True)}
  assert encoder["attn"]["output"] == {"kernel": Axes("GHKD"), "bias": Axes("GD", is_vector=True)}
  assert encoder["ffn"]["down"]["kernel"] == Axes("GFD")
  assert encoder["ffn"]["norm"] == {"scale": Axes("GD", is_vector=True), "bias": Axes("GD", is_vector=True)}
  assert axes["mlm"]["bias"] == Axes("V", is_vector=True)
  assert axes["pair"]["kernel"] == Axes("DC")
