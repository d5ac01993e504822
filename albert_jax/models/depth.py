"""Parts that each layer owns beside weights that it may share: low-rank additions, an embedding, a residual scale.

Its parameters are stacks with one entry for each layer. They are drawn from a random stream of their own, and at step 0
a model with them is, bit for bit, the model without.
"""

import jax
import numpy as np
from flax import nnx

from albert_jax.models import sharing
from albert_jax.models.layers import Own
from albert_jax.models.param import constant, weight
from albert_jax.models.sizes import MATRICES, EncoderConfig


class LowRank(nnx.Module):
  """Additions A·B to a kernel, one for each layer: a [L, inputs, R] from the usual normal, b [L, R, outputs] from 0."""

  def __init__(
    self, config: EncoderConfig, inputs: tuple[int, ...], outputs: tuple[int, ...], axes: str, rngs: nnx.Rngs
  ):
    layers, rank = config.layers, config.depth.lora
    self.a = weight(f"G{axes[: len(inputs)]}R", (layers, *inputs, rank), rngs, stream="depth")
    self.b = constant(f"GR{axes[len(inputs) :]}", (layers, rank, *outputs), 0.0, is_vector=False)


class Adapters(nnx.Module):
  """The low-rank additions of one part of a layer."""

  def __init__(self, config: EncoderConfig, part: str, rngs: nnx.Rngs):
    outer, inner, hidden = (config.width,), (config.heads, config.head_dim), (config.ffn,)
    shapes = dict.fromkeys(("query", "key", "value"), (outer, inner, "DHK"))
    shapes |= {"output": (inner, outer, "HKD"), "up": (outer, hidden, "DF"), "down": (hidden, outer, "FD")}
    for name in MATRICES[part]:
      if name in config.depth.lora_on:
        setattr(self, name, LowRank(config, *shapes[name], rngs))


class Depth(nnx.Module):
  """The learned parameters of `DepthConfig`."""

  def __init__(self, config: EncoderConfig, *, rngs: nnx.Rngs):
    layers = config.layers
    for part in MATRICES if config.depth.lora else ():
      setattr(self, part, Adapters(config, part, rngs))
    if config.depth.embedding == "learned":
      self.embedding = constant("GD", (layers, config.width), 0.0)
    if config.depth.residual == "learned":
      self.residual_attn = constant("G", (layers,), 1.0)
      self.residual_ffn = constant("G", (layers,), 1.0)


def fixed_inputs(config: EncoderConfig) -> dict[str, np.ndarray]:
  """The fixed parts, by the paths of their learned forms in `Depth`; one entry for each layer."""
  found = {}
  if config.depth.embedding == "sinusoid":
    found["embedding"] = _sinusoid(config.layers, config.width)
  if config.depth.residual == "inverse":
    for part, last in (("attn", "output"), ("ffn", "down")):
      found[f"residual_{part}"] = 1 / np.array(sharing.readers(config.tables[f"{part}/{last}/kernel"]), np.float32)
  return found


def own_of(part: str, weights: dict[str, jax.Array]) -> Own:
  """The parts that one layer owns, from its entries by path in `Depth`."""
  names = {path.split("/")[1] for path in weights if path.startswith(f"{part}/")}
  adapters = {name: (weights[f"{part}/{name}/a"], weights[f"{part}/{name}/b"]) for name in names}
  return Own(adapters, weights.get(f"residual_{part}"))


def add_embedding(x_BTD: jax.Array, weights: dict[str, jax.Array]) -> jax.Array:
  """The input of a layer with its embedding added."""
  return x_BTD + weights["embedding"].astype(x_BTD.dtype) if "embedding" in weights else x_BTD


def _sinusoid(layers: int, width: int) -> np.ndarray:
  """[L, D]: the position signal of arXiv 1706.03762, section 3.5, at the number of the layer."""
  rates = 10_000.0 ** (-np.arange(0, width, 2) / width)
  angles = np.arange(1, layers + 1)[:, None] * rates
  return np.stack([np.sin(angles), np.cos(angles)], axis=-1).reshape(layers, -1)[:, :width].astype(np.float32)
