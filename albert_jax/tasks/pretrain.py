"""Pretraining: masked language modelling with sentence-order or next-sentence prediction, or alone."""

import dataclasses
import functools
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from flax import nnx

from albert_jax.config import make_settings
from albert_jax.data.examples.prepare import prepare_from_config
from albert_jax.data.examples.reader import open_examples
from albert_jax.data.pretraining.baselines import SurfaceRule, WithBaselines
from albert_jax.data.pretraining.rows import ROWS_ALGORITHM, PretrainingRows
from albert_jax.data.pretraining.spec import BatchSettings, Vocabulary
from albert_jax.data.pretraining.survey import sample_rows, survey
from albert_jax.errors import InputError
from albert_jax.messages import say
from albert_jax.models.flops import flops_per_token
from albert_jax.models.heads import PretrainingModel, encode, gather
from albert_jax.models.param import abstract_module, init_params, param_axes
from albert_jax.models.sizes import EncoderConfig
from albert_jax.tasks.losses import cross_entropy, fill
from albert_jax.tasks.settings import encoder_config
from albert_jax.training.task import Batch, Outputs, TaskData, Terms


class PretrainTask:
  """Masked-LM loss plus, where there is a pair objective, the pair loss; the two are added unweighted.

  Attributes:
    encoder: the encoder's shape.
    batch: how rows are made.
    losses: the terms whose means add up to the loss.
  """

  def __init__(
    self,
    encoder: EncoderConfig,
    batch: BatchSettings,
    data: ml_collections.ConfigDict,
    *,
    loss_chunks: int = 1,
  ):
    if batch.max_length > encoder.positions:
      raise InputError(
        f"data.max_length {batch.max_length} is more than model.positions {encoder.positions}: raise the latter."
      )
    if batch.pair_objective != "none" and encoder.token_types < 2:
      raise InputError(
        f"model.token_types={encoder.token_types}: data.pair_objective={batch.pair_objective} has two segments. "
        "Set it to 2, or data.pair_objective=none."
      )
    self.encoder, self.batch = encoder, batch
    if not 1 <= loss_chunks <= batch.row_predictions:
      raise InputError(
        f"train.loss_chunks must be between 1 and the {batch.row_predictions} predictions of a row, got {loss_chunks}."
      )
    self._data, self._loss_chunks = data, loss_chunks
    self._pair = batch.pair_objective != "none"
    self.losses = ("mlm_loss", "pair_loss") if self._pair else ("mlm_loss",)
    self._definition = abstract_module(self._make_model)

  @classmethod
  def from_config(cls, config: ml_collections.ConfigDict) -> "PretrainTask":
    """Reads `config.model`, `config.data`, `config.seed` and `config.train.loss_chunks`."""
    seed = config.seed if config.data.seed == -1 else config.data.seed
    batch = make_settings(BatchSettings, config.data, seed=seed)
    return cls(encoder_config(config.model), batch, config.data, loss_chunks=config.train.loss_chunks)

  @classmethod
  def resolve(cls, config: ml_collections.ConfigDict) -> None:
    """Changes nothing: the data decide no key of the config."""

  def init(self, rng: jax.Array) -> dict:
    """New parameters, a nested dict of float32 arrays."""
    return init_params(self._make_model, rng)

  def param_axes(self) -> dict:
    """The axes of each parameter, as its module declares them."""
    return param_axes(self._make_model)

  def forward(self, params: dict, batch: Batch, rng: jax.Array | None) -> tuple[Terms, Outputs]:
    """Losses and accuracies; `fill` is the share of positions that are not padding.

    In an evaluation, `unigram_loss` and `pair_surface_accuracy` are what the baselines reach on the same predictions
    (data/pretraining/baselines.py).
    """
    model = nnx.merge(self._definition, params)
    x_BTD = encode(model.encoder, batch, rng)
    terms = fill(batch) | self._mlm_terms(model, x_BTD, batch)
    if self._pair:
      pair_logits_BNC = model.pair_logits(x_BTD, batch["cls_positions"])
      terms |= cross_entropy(pair_logits_BNC, batch["pair_labels"], batch["pair_weights"], prefix="pair_")
    if "unigram_nll" in batch:
      weights_BM = batch["mlm_weights"]
      terms["unigram_loss"] = (jnp.sum(batch["unigram_nll"] * weights_BM), jnp.sum(weights_BM))
    if "pair_surface_right" in batch:
      weights_BN = batch["pair_weights"]
      right = jnp.sum(batch["pair_surface_right"] * weights_BN)
      terms["pair_surface_accuracy"] = (right, jnp.sum(weights_BN))
    return terms, {}

  def _mlm_terms(self, model: PretrainingModel, x_BTD: jax.Array, batch: Batch) -> Terms:
    """Of the masked tokens; the logits, [B, M, V], are made one chunk of M at a time, and again for the gradient."""

    def terms(x_BMD: jax.Array, labels_BM: jax.Array, weights_BM: jax.Array) -> Terms:
      return cross_entropy(model.mlm_logits(x_BMD), labels_BM, weights_BM, prefix="mlm_")

    arrays = gather(x_BTD, batch["mlm_positions"]), batch["mlm_labels"], batch["mlm_weights"]
    if self._loss_chunks == 1:
      return terms(*arrays)
    chunks = jax.tree.map(functools.partial(_split, count=self._loss_chunks), arrays)
    terms = jax.checkpoint(terms)
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(terms, *(chunk[0] for chunk in chunks)))
    return jax.lax.scan(lambda sums, chunk: (jax.tree.map(jnp.add, sums, terms(*chunk)), None), zeros, chunks)[0]

  def loss_weights(self, batch: Batch) -> dict[str, jax.Array]:
    """Number of masked predictions and of labelled pairs."""
    return {name: jnp.sum(batch[name.replace("loss", "weights")]) for name in self.losses}

  def metrics(self, means: dict[str, float]) -> dict[str, float]:
    """Adds to the means of the terms the total loss and the masked-LM perplexity.

    Terms that had no weight are missing. The total is that of the others, and not a number where there is none.
    """
    losses = [means[name] for name in self.losses if name in means]
    metrics = {"loss": sum(losses) if losses else math.nan, **means}
    if "mlm_loss" in means:
      metrics["mlm_perplexity"] = float(np.exp(means["mlm_loss"]))
    return metrics

  def scores(self, split: str, outputs: Outputs) -> dict[str, float]:
    """Returns nothing: every metric is a mean."""
    return {}

  def write_predictions(self, split: str, outputs: Outputs, folder: Path) -> list[Path]:
    """Writes nothing: there are no predictions to submit."""
    return []

  def batch_specs(self, rows: int) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes and dtypes of a training batch."""
    return {name: jax.ShapeDtypeStruct(*spec) for name, spec in self.batch.shapes(rows).items()}

  def flops_per_token(self) -> float:
    """Training FLOPs per position of a row."""
    return flops_per_token(self.encoder, length=self.batch.max_length, predictions=self.batch.row_predictions)

  def load_data(self) -> TaskData:
    """Opens the prepared examples, preparing them first where they are not there.

    Raises:
      InputError: the text cannot be read, or the tokenizer has more pieces than the model.
    """
    directory, tokenizer = prepare_from_config(self._data)
    tokenizer.check_fits(self.encoder.vocab_size, "model.vocab_size")
    vocabulary = Vocabulary.of(tokenizer)
    train, valid = open_examples(directory, "train"), open_examples(directory, "valid")
    train_rows = PretrainingRows(train, vocabulary, self.batch, shuffle=True)
    # The same masks and baselines whatever the seed of the run, so that runs with other seeds have the same test.
    fixed = dataclasses.replace(self.batch, seed=self._data.holdout_seed)
    valid_rows = PretrainingRows(valid, vocabulary, fixed, shuffle=False)
    is_fixed = fixed == self.batch
    sample = sample_rows(train_rows if is_fixed else PretrainingRows(train, vocabulary, fixed, shuffle=True))
    found = survey(train, self.batch, sample, tokenizer.unk_id)
    found.check(self.batch.pair_objective)
    if jax.process_index() == 0:
      for line in found.lines(self.batch.pair_objective):
        say(line)
    surface = SurfaceRule(sample, tokenizer) if self._pair else None
    evaluations = {"valid": WithBaselines(valid_rows, train.unigram_counts, surface)}
    name = directory.parents[1].name  # ends in a digest of text, tokenizer and settings
    return TaskData(train_rows, evaluations, f"{name} {len(train)} {len(valid)} rows {ROWS_ALGORITHM}", tokenizer)

  def _make_model(self, rngs: nnx.Rngs) -> PretrainingModel:
    return PretrainingModel(self.encoder, pair=self._pair, rngs=rngs)


def _split(x_BM: jax.Array, count: int) -> jax.Array:
  """[B, M, ...] → [count, B, ⌈M/count⌉, ...], filled up with zeros."""
  size = -(-x_BM.shape[1] // count)
  padding = [(0, 0)] * x_BM.ndim
  padding[1] = (0, size * count - x_BM.shape[1])
  filled = jnp.pad(x_BM, padding)
  return jnp.moveaxis(filled.reshape(len(filled), count, size, *x_BM.shape[2:]), 1, 0)
