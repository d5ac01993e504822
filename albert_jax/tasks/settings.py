"""From the config's `model` record to the frozen description that the layers take."""

import dataclasses

import jax
import jax.numpy as jnp
import ml_collections

from albert_jax.errors import InputError, unknown
from albert_jax.models import sharing
from albert_jax.models.sizes import EncoderConfig

# What of a `model` record tells how it computes, not what it is; these are for using a model, where nothing is trained.
RUNTIME = {"dtype": "auto", "remat": "none", "layer_loop": "scan", "attention": "auto"}
DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


def encoder_config(model: ml_collections.ConfigDict) -> EncoderConfig:
  """Reads `config.model`: names of sharing schemes become tables, the name of a dtype becomes the dtype."""
  names = {field.name for field in dataclasses.fields(EncoderConfig)}
  record = {name: value for name, value in model.items() if name in names - {"dtype"}}
  tables = {f"{part}_table": sharing.make_table(scheme, model.layers) for part, scheme in model.sharing.items()}
  return EncoderConfig(**record, **tables, dtype=compute_dtype(model.dtype))


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
