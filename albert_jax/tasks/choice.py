"""Multiple choice: the answers compete by one logit each (arXiv 1810.04805, §4.4)."""

import jax
import ml_collections
from flax import nnx

from albert_jax.data.finetuning.encode import Sequences, truncate_first
from albert_jax.models.heads import ClassificationModel
from albert_jax.tasks.classify import ClassifyTask
from albert_jax.tasks.labelled import TOKEN_FIELDS
from albert_jax.training.task import Batch


class ChoiceTask(ClassifyTask):
  """Cross-entropy over the C answers to a question; `data.labels` are their names.

  A row is [CLS] article [SEP] question and answer [SEP] for each answer; of the latter the last `data.max_question`
  tokens are kept, and of the article what then fits.
  """

  def __init__(self, config: ml_collections.ConfigDict):
    super().__init__(config)
    self._max_question = config.data.max_question

  def logits(self, params: dict, batch: Batch, rng: jax.Array | None) -> jax.Array:
    """logits_BC, float32."""
    rows, choices, length = batch["tokens"].shape
    flat = {name: batch[name].reshape(rows * choices, length) for name in TOKEN_FIELDS}
    return self.apply(params, flat, rng).reshape(rows, choices)

  def row_shape(self, rows: int) -> tuple[int, ...]:
    """[B, C]."""
    return rows, len(self.labels)

  def _make_model(self, rngs: nnx.Rngs) -> nnx.Module:
    return ClassificationModel(self.encoder, 1, dropout=self._classifier_dropout, rngs=rngs)

  def _truncate(self, sequences: Sequences) -> Sequences:
    return truncate_first(sequences, self.settings.max_length, self._max_question)
