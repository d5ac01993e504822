"""From the config's `model` record to the frozen description that the layers take."""

import dataclasses

import jax
import jax.numpy as jnp
import ml_collections

from albert_jax.errors import InputError, unknown
from albert_jax.models import sharing
from albert_jax.models.sizes import LEAVES, DepthConfig, EncoderConfig

# What of a `model` record tells how it computes, not what it is; these are for using a model, where nothing is trained.
RUNTIME = {"dtype": "auto", "remat": "none", "layer_loop": "scan", "attention": "auto"}
DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


def encoder_config(model: ml_collections.ConfigDict) -> EncoderConfig:
  """Reads `config.model`: names of sharing schemes become tables, the name of a dtype becomes the dtype."""
  names = {field.name for field in dataclasses.fields(EncoderConfig)}
  record = {name: value for name, value in model.items() if name in names - {"dtype", "depth"}}
  tables = {name: sharing.make_table(scheme, model.layers) for name, scheme in model.sharing.items() if scheme}
  leaves = tuple((name, tables.pop(name)) for name in LEAVES if name in tables)
  return EncoderConfig(
    **record,
    **{f"{part}_table": table for part, table in tables.items()},
    leaf_tables=leaves,
    depth=_depth(model),
    dtype=compute_dtype(model.dtype),
  )


def _depth(model: ml_collections.ConfigDict) -> DepthConfig:
  """Reads `config.model.depth`; a record of an earlier version has none."""
  if "depth" not in model:
    return DepthConfig()
  names = tuple(name.strip() for name in model.depth.lora_on.split(",") if name.strip())
  return DepthConfig(model.depth.lora, names, model.depth.embedding, model.depth.residual)


def compute_dtype(name: str) -> jnp.dtype:
  """ "float32", "bfloat16", or "auto": bfloat16 where the hardware multiplies it, float32 on CPU."""
  if name == "auto":
    return jnp.float32 if jax.default_backend() == "cpu" else jnp.bfloat16
  if name == "float16":
    raise InputError(
      'model.dtype "float16" would need the loss to be scaled, which is not done here, since gradients below 6e-8 '
      'vanish in it: use "bfloat16", which has the range of float32.'
    )
  if name not in DTYPES:
    raise unknown("model.dtype", name, (*DTYPES, "auto"))
  return DTYPES[name]
