"""A model that shares weights as one that does not: every layer gets a copy of what it reads, and computes the same."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from albert_jax.models.depth import fixed_inputs
from albert_jax.models.sizes import MATRICES, EncoderConfig


def materialise(encoder: Mapping, config: EncoderConfig) -> dict:
  """Parameters of the encoder with sharing and depth undone, for tables of `range(L)` and an empty `DepthConfig`.

  Low-rank additions are added to the kernels, residual scales multiplied into each branch's last matrix and bias, and
  depth embeddings moved into the bias before the layer: that of the LayerNorm of the layer below, or of what ends the
  embeddings.

  Args:
    encoder: parameters, a nested dict of arrays.
    config: the encoder.

  Returns:
    A nested dict of arrays.
  """
  flat = {path: jnp.asarray(w) for path, w in flatten_dict(dict(encoder), sep="/").items()}
  depth = {path.removeprefix("depth/"): flat.pop(path) for path in [*flat] if path.startswith("depth/")}
  depth |= fixed_inputs(config)
  for path, table in config.tables.items():
    flat[path] = flat[path][np.array(table)]
  for part, matrices in MATRICES.items():
    for name in matrices:
      kernel = f"{part}/{name}/kernel"
      if f"{part}/{name}/a" in depth:
        a, b = depth[f"{part}/{name}/a"], depth[f"{part}/{name}/b"]
        layers, rank = len(a), a.shape[-1]
        factors = a.reshape(layers, -1, rank), b.reshape(layers, rank, -1)
        added = jnp.einsum("lir,lro->lio", *factors, precision=jax.lax.Precision.HIGHEST)
        flat[kernel] = flat[kernel] + added.reshape(flat[kernel].shape)
    if f"residual_{part}" in depth:
      for leaf in ("kernel", "bias"):
        w = flat[f"{part}/{matrices[-1]}/{leaf}"]
        flat[f"{part}/{matrices[-1]}/{leaf}"] = w * depth[f"residual_{part}"].reshape(-1, *[1] * (w.ndim - 1))
  if "embedding" in depth:
    last = "embeddings/projection/bias" if config.has_projection else "embeddings/norm/bias"
    flat[last] = flat[last] + depth["embedding"][0]
    flat["ffn/norm/bias"] = flat["ffn/norm/bias"].at[:-1].add(depth["embedding"][1:])
  return unflatten_dict(flat, sep="/")
