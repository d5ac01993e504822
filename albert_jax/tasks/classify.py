"""Classification of texts and of pairs of texts, and regression on them (arXiv 1810.04805, §4.1)."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from flax import nnx

from albert_jax.data.finetuning.encode import Sequences, check_token_types, encode_sequences, truncate_longest
from albert_jax.data.finetuning.registry import open_reader
from albert_jax.data.finetuning.rows import LabelledRows
from albert_jax.data.finetuning.types import LabelledTexts
from albert_jax.data.text.base import digest
from albert_jax.data.tokenizers.base import Tokenizer
from albert_jax.errors import InputError
from albert_jax.messages import say
from albert_jax.models.heads import ClassificationModel
from albert_jax.tasks.eval_metrics import check_scores, compute_scores
from albert_jax.tasks.labelled import LabelledTask
from albert_jax.tasks.losses import cross_entropy, fill, squared_error
from albert_jax.tasks.predictions import write_table
from albert_jax.training.task import Batch, Outputs, TaskData, Terms

_SHOWN = 8  # classes in one line


class ClassifyTask(LabelledTask):
  """Cross-entropy over the classes `data.labels`, or squared error where `data.regression` is set.

  Attributes:
    labels: names of the classes in the order of the outputs; () in a regression.
  """

  def __init__(self, config: ml_collections.ConfigDict):
    super().__init__(config)
    self.labels = tuple(config.data.labels)
    self._check_labels(config.data.regression)
    self._metrics = tuple(config.data.metrics)
    check_scores(self._metrics, len(self.labels))

  @classmethod
  def resolve(cls, config: ml_collections.ConfigDict) -> None:
    """Fills `data.labels` with the classes that the data have.

    Raises:
      InputError: there is no tokenizer, or the data cannot be read.
    """
    super().resolve(config)
    with config.unlocked():
      config.data.labels = tuple(config.data.labels) or open_reader(config.data).find_labels()

  def forward(self, params: dict, batch: Batch, rng: jax.Array | None) -> tuple[Terms, Outputs]:
    """Loss and, of classes, accuracy; the outputs are `logits` and, where they are known, `labels`."""
    logits_BC = self.logits(params, batch, rng)
    outputs = {name: batch[name] for name in ("labels",) if name in batch}
    if not outputs:
      terms = {}
    elif self.labels:
      terms = cross_entropy(logits_BC, batch["labels"], batch["weights"])
    else:
      terms = squared_error(logits_BC[:, 0], batch["labels"], batch["weights"])
    return fill(batch) | terms, {"logits": logits_BC, **outputs}

  def logits(self, params: dict, batch: Batch, rng: jax.Array | None) -> jax.Array:
    """logits_BC, float32; of a regression, C = 1."""
    return self.apply(params, batch, rng)

  def scores(self, split: str, outputs: Outputs) -> dict[str, float]:
    """The scores that `data.metrics` names."""
    return compute_scores(self._metrics, np.array(outputs["labels"]), self._predict(outputs))

  def write_predictions(self, split: str, outputs: Outputs, folder: Path) -> list[Path]:
    """Writes a table of `index` and `prediction`, under the name that the benchmark asks for if there is one."""
    reader = open_reader(self._data)
    predictions = self._predict(outputs)
    if self.labels:
      values = [self.labels[i] for i in predictions]
    else:
      low, high = reader.limits
      values = [f"{value:.3f}" for value in np.clip(predictions, low, high)]
    path = Path(folder) / reader.file_name(split)
    write_table(path, values)
    return [path]

  def label_fields(self) -> Mapping[str, jnp.dtype]:
    """`labels`: classes, or numbers in a regression."""
    return {"labels": jnp.int32 if self.labels else jnp.float32}

  def _check_labels(self, regression: bool) -> None:
    if regression == bool(self.labels):
      raise InputError(
        f"data.regression is {regression} and data.labels is {self.labels}: a regression has no labels, and a "
        "classification needs them."
      )
    if len(set(self.labels)) < len(self.labels):
      raise InputError(f"data.labels names a class twice: {', '.join(self.labels)}.")

  def _predict(self, outputs: Outputs) -> np.ndarray:
    logits_XC = np.stack(outputs["logits"])
    return logits_XC.argmax(axis=1) if self.labels else logits_XC[:, 0]

  def _make_model(self, rngs: nnx.Rngs) -> nnx.Module:
    outputs = len(self.labels) or 1
    return ClassificationModel(self.encoder, outputs, dropout=self._classifier_dropout, rngs=rngs)

  def _load(self) -> TaskData:
    splits = open_reader(self._data).read()
    if self.labels:
      for name, texts in {"train": splits.train, **splits.evaluations}.items():
        _check_classes(name, texts.labels, len(self.labels))
      say(f"train: {describe_classes(self.labels, splits.train.labels)}")
    tokenizer = self._open_tokenizer([*splits.train.first, *(splits.train.second or ())])
    train = self._make_rows("train", splits.train, tokenizer, shuffle=True)
    evaluations = {name: self._make_rows(name, texts, tokenizer) for name, texts in splits.evaluations.items()}
    unlabelled = {name: self._make_rows(name, texts, tokenizer) for name, texts in splits.predictions_only.items()}
    contents = [rows.fingerprint for rows in (train, *evaluations.values(), *unlabelled.values())]
    return TaskData(train, evaluations, digest(tokenizer.fingerprint, contents), tokenizer, unlabelled)

  def _make_rows(
    self, split: str, texts: LabelledTexts, tokenizer: Tokenizer, *, shuffle: bool = False
  ) -> LabelledRows:
    whole = encode_sequences(tokenizer, texts.first, texts.second)
    sequences = self._truncate(whole)
    cut = np.count_nonzero(sequences.lengths < whole.lengths)
    say(
      f"{split}: {len(texts):,} examples, {sequences.lengths.sum():,} tokens"
      + (f"; {cut:,} texts cut to {self.settings.max_length} tokens" if cut else "")
    )
    check_token_types(sequences.paired, self.encoder.token_types, "The model")
    fields = {} if texts.labels is None else {"labels": texts.labels}
    return LabelledRows(sequences, fields, tokenizer, self.settings, shuffle=shuffle, choices=texts.choices)

  def _truncate(self, sequences: Sequences) -> Sequences:
    return truncate_longest(sequences, self.settings.max_length)


def describe_classes(names: Sequence[str], labels: np.ndarray) -> str:
  """One line on how many examples each class has; of many classes it shows the largest, and the smallest's size."""
  counts = np.bincount(labels, minlength=len(names))
  order = np.argsort(-counts, kind="stable") if len(names) > _SHOWN else range(len(names))
  shown = ", ".join(f"{names[i]} {counts[i]:,}" for i in [*order][:_SHOWN])
  more = f" and {len(names) - _SHOWN} more, the smallest with {counts.min():,}" if len(names) > _SHOWN else ""
  return f"{len(names)} classes: {shown}{more}"


def _check_classes(split: str, labels: np.ndarray, classes: int) -> None:
  if len(labels) and not 0 <= labels.min() <= labels.max() < classes:
    wrong = labels[(labels < 0) | (labels >= classes)][0]
    raise InputError(f"{split}: an example has the class {wrong}, but there are the classes 0 to {classes - 1}.")
