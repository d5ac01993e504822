"""A trained model as StableHLO, by `jax.export`: it runs without this project, wherever JAX or another runtime does."""

from pathlib import Path

import jax
import jax.numpy as jnp

from albert_jax.errors import InputError
from albert_jax.interop.serving import ServingModel

FILE = "model.jax_export"
PLATFORMS = ("cpu", "cuda", "tpu")


def write_stablehlo(model: ServingModel, folder: Path) -> None:
  """Writes the model, with its weights, for every platform and any batch and length.

  `jax.export.deserialize` reads the file; the result's `call` takes the arguments of `ServingModel`, int32, and its
  `mlir_module()` is the StableHLO.

  Raises:
    InputError: the package flatbuffers is missing.
  """
  batch, length = jax.export.symbolic_shape("batch, length")
  rows = jax.ShapeDtypeStruct((batch, length), jnp.int32)
  exported = jax.export.export(jax.jit(model.__call__), platforms=PLATFORMS)(rows, rows, rows)
  try:
    content = exported.serialize()
  except ImportError as error:
    raise InputError("StableHLO is written with the package flatbuffers: pip install 'albert_jax[export]'.") from error
  (folder / FILE).write_bytes(content)
