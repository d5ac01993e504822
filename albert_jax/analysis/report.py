"""The analyses of a trained model as records that JSON can hold: pure functions of config, parameters and batches."""

import math
from collections.abc import Mapping, Sequence

import jax
import ml_collections
import numpy as np

from albert_jax.analysis import conflict, growth, similarity, states
from albert_jax.models.sizes import EncoderConfig
from albert_jax.tasks import make_task
from albert_jax.training.task import Batch, Terms

# Vectors for each dimension of them, below which the similarity of two depths cannot be trusted.
TOKENS_PER_DIM = 10


def depth_report(
  encoder: EncoderConfig, params: Mapping, batches: Sequence[Batch], *, tokens: int = 0, seed: int = 0
) -> dict:
  """What a model of pretraining computes at every depth, 0 being the embeddings' output.

  Args:
    encoder: the encoder's shape.
    params: of the whole model.
    batches: of an evaluation, from many documents.
    tokens: how many are compared; 0 = 10·D. They are held in memory at all depths, in float64.
    seed: decides which.

  Returns:
    `mlm_loss`, `mlm_accuracy`, `norm` and `effective_rank` [L + 1]; `distance` and `angle` [L]; `cka` and `cosine`
    [L + 1, L + 1]; `tokens`, on how many effective rank and similarities rest; `enough_tokens`, whether these are 10·D.
  """
  exits = _means([states.exit_terms(encoder, params, batch) for batch in batches])
  layers = _means([states.layer_terms(encoder, params, batch) for batch in batches])
  enough = TOKENS_PER_DIM * encoder.width
  x_LND = states.sample_states(encoder, params, batches, tokens or enough, seed=seed)
  return jsonable(
    {
      **exits,
      **layers,
      "cka": similarity.cka_matrix(x_LND),
      "cosine": similarity.cosine_matrix(x_LND),
      "effective_rank": [similarity.effective_rank(x_ND) for x_ND in x_LND],
      "tokens": x_LND.shape[1],
      "enough_tokens": x_LND.shape[1] >= enough,
    }
  )


def conflict_report(config: ml_collections.ConfigDict, params: Mapping, batches: Sequence[Batch]) -> dict:
  """How the gradients of the layers agree on shared weights.

  Args:
    config: of the run.
    params: of the whole model.
    batches: of training; 16 or more tell the direction from the noise.

  Returns:
    By part and by parameter: the `table`, and what `conflict.conflict` makes of the mean Gram matrix of the batches.
  """
  grams = conflict.gram_function(config)
  mean = conflict.mean_grams([grams(params, batch) for batch in batches])
  encoder = make_task(config).encoder
  found = {}
  for name, (gram_LL, table) in conflict.by_part(mean, encoder).items():
    found[name] = {"table": list(table), **conflict.conflict(gram_LL, table)}
  return jsonable(found)


def growth_report(before: Mapping, after: Mapping, axes: Mapping) -> dict:
  """`norm` of every parameter after training and its `relative_change` since `before`, by path and weight group."""
  sizes, changes = growth.norms(after, axes), growth.relative_change(before, after, axes)
  return jsonable({path: {"norm": sizes[path], "relative_change": changes[path]} for path in sizes})


def jsonable(value):
  """Arrays as nested lists; None for what is not a finite number, which JSON cannot hold."""
  if isinstance(value, Mapping):
    return {name: jsonable(item) for name, item in value.items()}
  if isinstance(value, np.ndarray | jax.Array):
    return jsonable(value.tolist())
  if isinstance(value, list | tuple):
    return [jsonable(item) for item in value]
  if isinstance(value, float):
    return value if math.isfinite(value) else None
  return value


def _means(terms: Sequence[Terms]) -> dict[str, np.ndarray]:
  """The mean of each term over all batches."""
  host = jax.device_get(list(terms))
  with np.errstate(invalid="ignore"):
    return {name: sum(t[name][0] for t in host) / sum(np.asarray(t[name][1]) for t in host) for name in host[0]}
