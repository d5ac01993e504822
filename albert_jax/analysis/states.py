"""The states of a trained encoder at every depth: depth 0 is the output of the embeddings, depth l that of layer l.

Everything here is a pure function of (encoder, params, batch) for a model of pretraining, without dropout.
"""

import functools
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from albert_jax.models.heads import PretrainingModel, encode, gather
from albert_jax.models.param import abstract_module
from albert_jax.models.sizes import EncoderConfig
from albert_jax.tasks.losses import cross_entropy
from albert_jax.training.task import Batch, Terms


@functools.partial(jax.jit, static_argnums=0)
def exit_terms(encoder: EncoderConfig, params: Mapping, batch: Batch) -> Terms:
  """`mlm_loss` and `mlm_accuracy` of the model's own head at every depth, with no head trained for it.

  Returns:
    (sum, weight) pairs [L + 1]; those of several batches add up.
  """
  model, x_LBTD = _model_and_states(encoder, params, batch)

  def at_depth(x_BTD: jax.Array) -> Terms:
    logits_BMV = model.mlm_logits(gather(x_BTD, batch["mlm_positions"]))
    return cross_entropy(logits_BMV, batch["mlm_labels"], batch["mlm_weights"], prefix="mlm_")

  return jax.lax.map(at_depth, x_LBTD)  # one depth at a time: the logits of all would not fit


@functools.partial(jax.jit, static_argnums=0)
def layer_terms(encoder: EncoderConfig, params: Mapping, batch: Batch) -> Terms:
  """How far each layer moves a token's vector (arXiv 1909.11942, figure 1), over all tokens but padding.

  Returns:
    (sum, weight) pairs that add up over batches: `distance` and `angle` (in degrees) between a layer's input and output
    [L], and `norm`, the vectors' length at every depth [L + 1].
  """
  _, x_LBTD = _model_and_states(encoder, params, batch)
  x_LBTD = x_LBTD.astype(jnp.float32)
  is_real_BT = batch["example_ids"] > 0
  norm_LBT = jnp.linalg.norm(x_LBTD, axis=-1)
  unit_LBTD = x_LBTD / jnp.maximum(norm_LBT, jnp.finfo(jnp.float32).tiny)[..., None]
  below, above = unit_LBTD[:-1], unit_LBTD[1:]
  # arccos would lose half of the digits of a small angle.
  half_LBT = jnp.arctan2(jnp.linalg.norm(above - below, axis=-1), jnp.linalg.norm(above + below, axis=-1))
  found = {
    "distance": jnp.linalg.norm(x_LBTD[1:] - x_LBTD[:-1], axis=-1),
    "angle": jnp.degrees(2 * half_LBT),
    "norm": norm_LBT,
  }
  count = jnp.sum(is_real_BT, dtype=jnp.float32)
  return {
    name: (jnp.sum(values * is_real_BT, axis=(1, 2)), jnp.broadcast_to(count, len(values)))
    for name, values in found.items()
  }


def sample_states(
  encoder: EncoderConfig, params: Mapping, batches: Sequence[Batch], tokens: int, *, seed: int = 0
) -> np.ndarray:
  """The vectors of randomly drawn tokens at every depth, about as many from each batch.

  Args:
    encoder: the encoder's shape.
    params: of the whole model.
    batches: as in evaluation.
    tokens: how many; all tokens of the batches where there are fewer. Neighbours in a text are alike: draw from many.
    seed: of the drawing.

  Returns:
    x_LND, float32, L + 1 depths of N tokens.
  """
  found = []
  for number, batch in enumerate(batches):
    real_X = np.flatnonzero(np.asarray(batch["example_ids"]).ravel() > 0)
    wanted = tokens * (number + 1) // len(batches) - tokens * number // len(batches)
    drawn_X = np.random.default_rng([seed, number]).permutation(real_X)[:wanted]
    found.append(np.asarray(_vectors(encoder, params, batch, np.sort(drawn_X)), np.float32))
  return np.concatenate(found, axis=1)


@functools.partial(jax.jit, static_argnums=0)
def _vectors(encoder: EncoderConfig, params: Mapping, batch: Batch, positions_X: jax.Array) -> jax.Array:
  _, x_LBTD = _model_and_states(encoder, params, batch)
  return x_LBTD.reshape(len(x_LBTD), -1, x_LBTD.shape[-1])[:, positions_X]


def _model_and_states(encoder: EncoderConfig, params: Mapping, batch: Batch) -> tuple[PretrainingModel, jax.Array]:
  definition = abstract_module(lambda rngs: PretrainingModel(encoder, pair="pair" in params, rngs=rngs))
  model = nnx.merge(definition, params)
  return model, encode(model.encoder, batch, None, collect=True)[1]
