"""The common part of tasks on labelled examples: one example a row, a new head on a trained encoder."""

import abc
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import ml_collections
from flax import nnx

from albert_jax.config import make_settings
from albert_jax.data.finetuning.rows import RowSettings
from albert_jax.data.finetuning.types import TextsSource
from albert_jax.data.tokenizers.base import Tokenizer
from albert_jax.data.tokenizers.registry import resolve_tokenizer
from albert_jax.errors import InputError
from albert_jax.models.flops import flops_per_token
from albert_jax.models.param import abstract_module, init_params, param_axes
from albert_jax.tasks.settings import encoder_config
from albert_jax.training.task import Batch, Outputs, TaskData, Terms

TOKEN_FIELDS = ("tokens", "token_type_ids", "example_ids", "positions")


class LabelledTask(abc.ABC):
  """A task whose data are labelled examples, and whose one loss is the mean over them.

  Attributes:
    encoder: the encoder's shape.
    settings: how examples become rows.
  """

  losses = ("loss",)

  def __init__(self, config: ml_collections.ConfigDict):
    """Reads `config.model`, `config.data` and `config.seed`.

    Raises:
      InputError: rows are longer than the model's positions, or a value does not fit.
    """
    self.encoder = encoder_config(config.model)
    self.settings = make_settings(RowSettings, config.data, seed=config.seed)
    if self.settings.max_length > self.encoder.positions:
      raise InputError(
        f"data.max_length {self.settings.max_length} is more than model.positions {self.encoder.positions}: lower the "
        "former."
      )
    self._data = config.data
    self._classifier_dropout = config.model.classifier_dropout

  @classmethod
  def resolve(cls, config: ml_collections.ConfigDict) -> None:
    """Fills what the config leaves to the data.

    Raises:
      InputError: there is no tokenizer.
    """
    if not config.data.tokenizer:
      raise InputError(
        "No tokenizer: start from a model that has one, with --config.init_from=DIR, or name a file with "
        "--config.data.tokenizer=FILE."
      )

  @classmethod
  def from_config(cls, config: ml_collections.ConfigDict) -> "LabelledTask":
    """Reads `config.model`, `config.data` and `config.seed`."""
    return cls(config)

  def init(self, rng: jax.Array) -> dict:
    """New parameters, a nested dict of float32 arrays."""
    return init_params(self._make_model, rng)

  def param_axes(self) -> dict:
    """The axes of each parameter, as its module declares them."""
    return param_axes(self._make_model)

  def apply(self, params: dict, batch: Batch, rng: jax.Array | None):
    """The model's output for a batch; no rng means no dropout."""
    return nnx.merge(self._definition, params)(batch, rng)

  @abc.abstractmethod
  def forward(self, params: dict, batch: Batch, rng: jax.Array | None) -> tuple[Terms, Outputs]:
    """As `training.task.Task`; a batch without labels has the term `fill` only."""

  def loss_weights(self, batch: Batch) -> dict[str, jax.Array]:
    """Number of examples."""
    return {"loss": jnp.sum(batch["weights"])}

  def metrics(self, means: dict[str, float]) -> dict[str, float]:
    """The means as they are."""
    return means

  @abc.abstractmethod
  def scores(self, split: str, outputs: Outputs) -> dict[str, float]:
    """As `training.task.Task`."""

  @abc.abstractmethod
  def write_predictions(self, split: str, outputs: Outputs, folder: Path) -> list[Path]:
    """As `training.task.Task`."""

  def batch_specs(self, rows: int) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes and dtypes of a training batch of the greatest length."""
    shape = (*self.row_shape(rows), self.settings.max_length)
    specs = {name: jax.ShapeDtypeStruct(shape, jnp.int32) for name in TOKEN_FIELDS}
    specs |= {name: jax.ShapeDtypeStruct((rows,), dtype) for name, dtype in self.label_fields().items()}
    return specs | {"weights": jax.ShapeDtypeStruct((rows,), jnp.float32)}

  def row_shape(self, rows: int) -> tuple[int, ...]:
    """Dimensions of `tokens` before T."""
    return (rows,)

  @abc.abstractmethod
  def label_fields(self) -> Mapping[str, jnp.dtype]:
    """Names and dtypes of the labels, [B], in the order in which rows have them."""

  def flops_per_token(self) -> float:
    """Training FLOPs per position of a row; the head is not counted."""
    return flops_per_token(self.encoder, length=self.settings.max_length, predictions=0)

  def load_data(self) -> TaskData:
    """The data, read once.

    Raises:
      InputError: files are missing or damaged, or the tokenizer has more pieces than the model.
    """
    return self._loaded

  @functools.cached_property
  def _loaded(self) -> TaskData:
    return self._load()

  @abc.abstractmethod
  def _load(self) -> TaskData:
    """Reads the data."""

  @abc.abstractmethod
  def _make_model(self, rngs: nnx.Rngs) -> nnx.Module:
    """A new model."""

  @functools.cached_property
  def _definition(self) -> nnx.GraphDef:
    return abstract_module(self._make_model)

  def _open_tokenizer(self, texts: Sequence[str]) -> Tokenizer:
    """The tokenizer that `data.tokenizer` names; one of the form `train:KIND:SIZE` is trained on the texts."""
    source = TextsSource(self._data.source, tuple(dict.fromkeys(texts)))
    tokenizer = resolve_tokenizer(self._data.tokenizer, source, self._data.cache_dir)
    tokenizer.check_fits(self.encoder.vocab_size, "model.vocab_size")
    return tokenizer
