"""Answers to questions as spans of a passage, SQuAD 1.1 and 2.0 (arXiv 1810.04805, §4.2 and §4.3)."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import ml_collections
from flax import nnx

from albert_jax.config import make_settings
from albert_jax.data.finetuning import samples
from albert_jax.data.finetuning.encode import check_token_types
from albert_jax.data.finetuning.rows import LabelledRows
from albert_jax.data.finetuning.squad import Question, read_squad
from albert_jax.data.finetuning.squad_sample import write_squad_sample
from albert_jax.data.finetuning.windows import Windows, WindowSettings, make_windows
from albert_jax.data.text.base import digest
from albert_jax.data.tokenizers.base import Tokenizer
from albert_jax.errors import InputError
from albert_jax.files import new_file
from albert_jax.messages import say
from albert_jax.models.heads import SpanModel
from albert_jax.tasks.labelled import LabelledTask
from albert_jax.tasks.losses import cross_entropy, fill
from albert_jax.tasks.squad_answers import Answers, AnswerSettings, find_answers
from albert_jax.tasks.squad_scores import squad1_scores, squad2_scores
from albert_jax.training.task import Batch, Outputs, TaskData, Terms

_MASKED = -1e9  # finite, because a row that is all padding has no other logits


class SpanTask(LabelledTask):
  """Cross-entropy of the answer's first and last position, where [CLS] stands for no answer in the window.

  Both heads are linear, as BERT's. (google-research/albert has a larger one for SQuAD 2.0, which predicts the end from
  the start and classifies what can be answered.)
  """

  def __init__(self, config: ml_collections.ConfigDict):
    super().__init__(config)
    if config.data.version not in (1, 2):
      raise InputError(f"data.version must be 1 or 2, for SQuAD 1.1 or 2.0, not {config.data.version}.")
    self._version = config.data.version
    self._windowing = make_settings(WindowSettings, config.data)
    self._answering = make_settings(AnswerSettings, config.data)
    self._windows: dict[str, Windows] = {}

  def forward(self, params: dict, batch: Batch, rng: jax.Array | None) -> tuple[Terms, Outputs]:
    """Loss and accuracies, over the positions that are not padding; the outputs are the logits of every position."""
    start_logits_BT, end_logits_BT = self.apply(params, batch, rng)
    terms = {}
    for name, logits_BT in ("start", start_logits_BT), ("end", end_logits_BT):
      real_BT = jnp.where(batch["example_ids"] > 0, logits_BT, _MASKED)
      found = cross_entropy(real_BT, batch[f"{name}s"], batch["weights"])
      terms |= {f"{name}_{key}": value for key, value in found.items()}
    (start, weight), (end, _) = terms.pop("start_loss"), terms.pop("end_loss")
    terms["loss"] = ((start + end) / 2, weight)
    return fill(batch) | terms, {"start_logits": start_logits_BT, "end_logits": end_logits_BT}

  def label_fields(self) -> Mapping[str, jnp.dtype]:
    """`starts` and `ends`: positions in the row."""
    return {"starts": jnp.int32, "ends": jnp.int32}

  def scores(self, split: str, outputs: Outputs) -> dict[str, float]:
    """Exact match and F1 as the official scripts give them, in percent."""
    answers, questions = self._answer(split, outputs), self._windows[split].questions
    texts = [answer.best.text for answer in answers]
    golds = [[text for text, _ in question.answers] for question in questions]
    if self._version == 1:
      return squad1_scores(texts, golds)
    return squad2_scores(texts, [answer.null_odds for answer in answers], self._answering.null_threshold, golds)

  def write_predictions(self, split: str, outputs: Outputs, folder: Path) -> list[Path]:
    """Writes predictions.json, nbest_predictions.json and, for SQuAD 2.0, null_odds.json, by question."""
    found = list(zip((q.id for q in self._windows[split].questions), self._answer(split, outputs)))
    contents = {
      "predictions.json": {key: self._text(answers) for key, answers in found},
      "nbest_predictions.json": {key: self._n_best(answers) for key, answers in found},
    }
    if self._version == 2:
      contents["null_odds.json"] = {key: answers.null_odds for key, answers in found}
    paths = []
    for name, content in contents.items():
      paths.append(Path(folder) / name)
      _write_json(paths[-1], content)
    return paths

  def _answer(self, split: str, outputs: Outputs) -> list[Answers]:
    self.load_data()
    return find_answers(self._windows[split], outputs["start_logits"], outputs["end_logits"], self._answering)

  def _text(self, answers: Answers) -> str:
    silent = self._version == 2 and answers.null_odds > self._answering.null_threshold
    return "" if silent else answers.best.text

  def _n_best(self, answers: Answers) -> list[dict]:
    return [
      {"text": c.text, "probability": probability, "start_logit": c.start_logit, "end_logit": c.end_logit}
      for c, probability in answers.probabilities(with_null=self._version == 2)
    ]

  def _make_model(self, rngs: nnx.Rngs) -> nnx.Module:
    return SpanModel(self.encoder, rngs=rngs)

  def _load(self) -> TaskData:
    data = self._data
    directory = write_squad_sample(self._version, data.cache_dir) if data.dir == samples.NAME else data.dir
    train, valid = read_squad(self._version, directory, data.train, data.valid)
    tokenizer = self._open_tokenizer([text for question in train for text in (question.text, question.context)])
    train_rows = self._make_rows("train", train, tokenizer, shuffle=True)
    valid_rows = self._make_rows("valid", valid, tokenizer)
    fingerprint = digest(tokenizer.fingerprint, train_rows.fingerprint, valid_rows.fingerprint)
    return TaskData(train_rows, {"valid": valid_rows}, fingerprint, tokenizer)

  def _make_rows(
    self, split: str, questions: Sequence[Question], tokenizer: Tokenizer, *, shuffle: bool = False
  ) -> LabelledRows:
    windows = self._windows[split] = make_windows(questions, tokenizer, self._windowing)
    check_token_types(windows.sequences.paired, self.encoder.token_types, "The model")
    starts, ends = windows.labels()
    say(
      f"{split}: {len(questions):,} questions in {len(windows):,} windows, {windows.sequences.lengths.sum():,} tokens"
    )
    return LabelledRows(windows.sequences, {"starts": starts, "ends": ends}, tokenizer, self.settings, shuffle=shuffle)


def _write_json(path: Path, content: dict) -> None:
  with new_file(path) as temporary:
    temporary.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
