"""The interfaces between the training loop and a task: the task itself, its rows and its data."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import jax
import ml_collections
import numpy as np

from albert_jax.data.tokenizers.base import Tokenizer
from albert_jax.models.sizes import EncoderConfig

Batch = dict[str, jax.Array]
# A metric's sum over a batch and the weight it is to be divided by. Only the end divides, so that microbatches, shards
# and processes agree with one whole batch.
Terms = dict[str, tuple[jax.Array, jax.Array]]
# What scores need of each row of a batch, [B, ...] by name; on the host, a list of one array for each row.
Outputs = dict[str, Any]


class Rows(Protocol):
  """Rows at random access.

  Attributes:
    num_rows: rows in one epoch.
  """

  num_rows: int

  def batch(self, number: int, size: int, first: int, last: int) -> dict[str, np.ndarray]:
    """Rows first … last − 1 of the global batch `number`, whose `size` rows are number·size … number·size + size − 1.

    Training rows go on for ever; evaluation rows end at `num_rows`, and those after are empty. Lengths may change from
    batch to batch, but not between the parts of one.
    """


@dataclasses.dataclass(frozen=True)
class TaskData:
  """The data that a task is trained and evaluated on.

  Attributes:
    train: rows for training.
    evaluations: labelled rows, by split.
    fingerprint: of the data; every process of a job must have the same.
    tokenizer: the one that the rows were made with; a run keeps a copy.
    unlabelled: rows to be predicted only, by split.
  """

  train: Rows
  evaluations: Mapping[str, Rows]
  fingerprint: str
  tokenizer: Tokenizer
  unlabelled: Mapping[str, Rows] = dataclasses.field(default_factory=dict)


class Task(Protocol):
  """A model, losses in (sum, weight) pairs, batches and metrics.

  Attributes:
    encoder: the encoder's shape.
    losses: names of the terms whose means add up to the loss.
  """

  encoder: EncoderConfig
  losses: tuple[str, ...]

  @classmethod
  def resolve(cls, config: ml_collections.ConfigDict) -> None:
    """Fills what a config leaves to the task and its data; InputError where that cannot be done."""

  @classmethod
  def from_config(cls, config: ml_collections.ConfigDict) -> "Task":
    """Builds the task from a complete, checked config; InputError where its values do not fit each other."""

  def init(self, rng: jax.Array) -> Any:
    """New parameters, a nested dict of float32 arrays."""

  def param_axes(self) -> Any:
    """The declared axes of the parameters, a nested dict of `models.param.Axes` in their places."""

  def forward(self, params: Any, batch: Batch, rng: jax.Array | None) -> tuple[Terms, Outputs]:
    """Losses and metrics of a batch as (sum, weight) pairs, and what `scores` needs of each row.

    No rng means no dropout. Outputs are {} where means of terms suffice; training ignores them.
    """

  def loss_weights(self, batch: Batch) -> dict[str, jax.Array]:
    """The weights that `forward` gives the losses, from the batch alone."""

  def metrics(self, means: dict[str, float]) -> dict[str, float]:
    """Metrics to log, from the means of the terms; holds at least `loss`."""

  def scores(self, split: str, outputs: Outputs) -> dict[str, float]:
    """Metrics that are no means, such as F1, from the outputs of all rows of an evaluation split, in their order."""

  def write_predictions(self, split: str, outputs: Outputs, folder: Path) -> list[Path]:
    """Writes the predictions for a split as people submit them; returns the files."""

  def batch_specs(self, rows: int) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes and dtypes of a training batch of the greatest length."""

  def flops_per_token(self) -> float:
    """Training FLOPs per position of a row."""

  def load_data(self) -> TaskData:
    """Opens the data, preparing it first where that has not been done."""
