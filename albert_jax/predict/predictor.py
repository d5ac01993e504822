"""A trained model as an object for people: texts in, answers out."""

import dataclasses
import functools
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from albert_jax.config import load_config, make_settings
from albert_jax.data.finetuning.encode import (
  Sequences,
  check_token_types,
  encode_sequences,
  truncate_first,
  truncate_longest,
)
from albert_jax.data.finetuning.race import join_option
from albert_jax.data.tokenizers.base import Tokenizer
from albert_jax.data.tokenizers.registry import load_tokenizer
from albert_jax.errors import InputError, unknown
from albert_jax.interop.pretrained import is_huggingface, open_pretrained
from albert_jax.messages import say
from albert_jax.models import sharing
from albert_jax.models.param import count
from albert_jax.predict import inference
from albert_jax.predict.answers import lay_windows, read_answers
from albert_jax.predict.fill_mask import encode_masked, read_fillings
from albert_jax.predict.inference import Results, run
from albert_jax.predict.methods import METHODS
from albert_jax.predict.results import Answer, Choice, Label, make_choice, make_label
from albert_jax.predict.texts import Text, as_list, require_text, split_pairs
from albert_jax.tasks.settings import RUNTIME, encoder_config
from albert_jax.tasks.squad_answers import AnswerSettings
from albert_jax.training.init_from import Pretrained

BATCH_SIZE = 32


def load(
  path: str | os.PathLike[str], *, step: int | None = None, dtype: str = "float32", tokenizer: str = ""
) -> "Predictor":
  """Loads a trained model.

  Args:
    path: a workdir of `train.py`, a folder with Hugging Face's `config.json` and safetensors, or
      `hub:OWNER/NAME[@REVISION]`, such a folder on the Hub.
    step: which checkpoint of a workdir; the best or newest by default.
    dtype: of the computation: "float32", "bfloat16", or "auto" (bfloat16 on accelerators).
    tokenizer: a file or folder, where the model's folder has none.

  Raises:
    InputError: the folder holds no model, a damaged one, or no tokenizer.
  """
  path = os.fspath(path)
  pretrained = open_pretrained(path, step)
  file = tokenizer or pretrained.tokenizer
  if not file:
    raise InputError(f"{path} has no tokenizer: name its file or folder, as in load(path, tokenizer=FILE).")
  data = {} if is_huggingface(pretrained.path) else load_config(pretrained.path).data
  return Predictor(pretrained, load_tokenizer(file), data, dtype)


class Predictor:
  """A trained encoder with the heads that it has; all methods run on one device, in batches.

  Methods take one text and give one result, or take a list and give a list in its order. Texts are sorted by length
  into rows of few different lengths, each of which is compiled for once; the batches that this makes do not change
  results. A text that is too long is cut, as in training; a warning says so once.

  Attributes:
    config: the encoder's shape.
    params: nested dict of float32 arrays.
    tokenizer: the model's own.
    labels: names of the classes that the classifier tells apart.
    heads: names of the modules beside the encoder.
    max_length: tokens that the model reads at once, [CLS] and [SEP] included: as many as in its training.
  """

  def __init__(self, pretrained: Pretrained, tokenizer: Tokenizer, data: Mapping[str, Any], dtype: str = "float32"):
    """Reads the parameters of a model.

    Args:
      pretrained: the model.
      tokenizer: its tokenizer.
      data: the record `config.data` of its run, as far as it is known.
      dtype: of the computation.
    """
    self.config = encoder_config(ml_collections.ConfigDict({**pretrained.model, **RUNTIME, "dtype": dtype}))
    tokenizer.check_fits(self.config.vocab_size, f"the vocabulary of {pretrained.path}")
    self.tokenizer, self.labels = tokenizer, pretrained.labels
    self.heads = tuple(sorted(set(pretrained.specs) - {"encoder"}))
    self.max_length = min(self.config.positions, data.get("max_length") or self.config.positions)
    self._path, self._task, self._data = pretrained.path, pretrained.task, data
    device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    self.params = pretrained.restore(
      jax.tree.map(lambda spec: jax.ShapeDtypeStruct(spec.shape, spec.dtype, sharding=device), pretrained.specs)
    )
    self._has_warned = False

  def __repr__(self) -> str:
    c, can = self.config, ", ".join(self.methods)
    shared = any(sharing.num_groups(table) < c.layers for table in c.tables.values())
    family = c.kind.upper() if c.is_recurrent else "ALBERT" if shared or c.has_projection else "BERT"
    return (
      f"<{family} of {self._path}: {c.layers} layers, width {c.width}, {self.num_parameters:,} parameters; "
      f"heads: {', '.join(self.heads) or 'none'}; can {can}>"
    )

  @property
  def num_parameters(self) -> int:
    """Heads included."""
    return count(self.params)

  @property
  def methods(self) -> tuple[str, ...]:
    """Names of the methods that the model has heads for."""
    return tuple(name for name, method in METHODS.items() if method.fits(self.heads, self._task))

  def encode(
    self,
    texts: str | Sequence[str],
    *,
    pooling: str = "mean",
    normalize: bool = False,
    batch_size: int = BATCH_SIZE,
  ) -> np.ndarray:
    """Vectors of texts.

    Args:
      texts: one or several.
      pooling: "mean" of the vectors of all tokens, [CLS] and [SEP] among them, or that of [CLS], "cls".
      normalize: scale to length 1, so that products are cosines.
      batch_size: rows at most that are computed at once.

    Returns:
      float32 [n, D]; [D] for one text.
    """
    texts, one = as_list(texts)
    if pooling not in inference.POOLINGS:
      raise unknown("pooling", pooling, inference.POOLINGS)
    if not texts:
      return np.zeros((0, self.config.width), np.float32)
    sequences = self._cut(encode_sequences(self.tokenizer, texts, None))
    results = self._run(functools.partial(self._encode, pooling=pooling), sequences, batch_size)
    vectors_XD = np.stack([vector for (vector,) in results])
    if normalize:
      vectors_XD /= np.maximum(np.linalg.norm(vectors_XD, axis=1, keepdims=True), 1e-12)
    return vectors_XD[0] if one else vectors_XD

  def fill_mask(self, texts: str | Sequence[str], *, top: int = 5, batch_size: int = BATCH_SIZE) -> list:
    """The likeliest pieces in the place of [MASK].

    Args:
      texts: one or several, each with one mask or more; names of other special pieces are taken as those, too.
      top: pieces for each mask.
      batch_size: rows at most that are computed at once.

    Returns:
      For each text a list of `Filling`, the likeliest first; for a text with several masks one such list for each.
    """
    self._require("fill_mask")
    if not 1 <= top <= self.tokenizer.vocab_size:
      raise InputError(f"top must be between 1 and {self.tokenizer.vocab_size} (all pieces), not {top}.")
    texts, one = as_list(texts)
    masked = encode_masked(texts, self.tokenizer, self.max_length)
    fields = {"mlm_positions": masked.positions_XM}
    results = self._run(functools.partial(self._fill, top=top), masked.sequences, batch_size, fields)
    found = [
      fillings if len(fillings) > 1 else fillings[0] for fillings in read_fillings(masked, results, self.tokenizer)
    ]
    return found[0] if one else found

  def classify(self, texts: Text | Sequence[Text], *, batch_size: int = BATCH_SIZE) -> Label | float | list:
    """The classes of texts, or numbers where the classifier was trained for a regression.

    Args:
      texts: one or several; a pair of texts is a tuple.
      batch_size: rows at most that are computed at once.
    """
    self._require("classify")
    texts, one = as_list(texts, (str, tuple))
    first, second = split_pairs(texts)
    results = self._run(self._classify, self._cut(encode_sequences(self.tokenizer, first, second)), batch_size)
    found = [make_label(self.labels, logits_C) for (logits_C,) in results]
    return found[0] if one else found

  def choose(self, context: str, options: Sequence[str], *, question: str = "") -> Choice:
    """The option that fits best.

    Args:
      context: what the question is about, or what the options go on from.
      options: at least one.
      question: is joined to each option, or has it filled into its blank, `_`.
    """
    self._require("choose")
    options, one = as_list(options)
    if one or not options:
      raise InputError(f"options must be a list of at least one text, not {options[0] if one else options!r}.")
    for text in (context, question):
      require_text(text)
    seconds = [join_option(question, option) if question else option for option in options]
    whole = encode_sequences(self.tokenizer, [context] * len(options), seconds)
    cut = truncate_first(whole, self.max_length, self._data.get("max_question") or self.max_length)
    self._warn(whole, cut)
    results = self._run(self._classify, cut, len(options))
    return make_choice(options, np.concatenate([logits_C for (logits_C,) in results]))

  def answer(
    self,
    question: str | Sequence[str],
    context: str | Sequence[str],
    *,
    top: int = 1,
    no_answer: bool | None = None,
    batch_size: int = BATCH_SIZE,
  ) -> Answer | list:
    """The parts of contexts that answer questions; a long context is read in overlapping windows.

    Args:
      question: one or several.
      context: one for each question, or one for all.
      top: answers at most to each question.
      no_answer: whether "" is an answer; by default it is where the model was trained for it (SQuAD 2.0).
      batch_size: rows at most that are computed at once.

    Returns:
      For each question its `Answer`, or a list of them, the best first, where `top` is more than 1.
    """
    self._require("answer")
    questions, one = as_list(question)
    contexts, shared = as_list(context)
    contexts = contexts * len(questions) if shared else contexts
    if top < 1 or len(questions) != len(contexts):
      raise InputError(f"{len(questions)} questions, {len(contexts)} contexts, top {top}: give a context for each.")
    if not questions:
      return []
    settings = make_settings(AnswerSettings, self._data)
    settings = dataclasses.replace(settings, n_best=max(settings.n_best, top))
    windows = lay_windows(questions, contexts, self.tokenizer, self._data, self.max_length)
    results = self._run(self._span, windows.sequences, batch_size)
    if no_answer is None:
      no_answer = self._data.get("version") == 2
    found = read_answers(windows, results, settings, top=top, no_answer=no_answer)
    found = [answers[0] for answers in found] if top == 1 else found
    return found[0] if one else found

  def _require(self, name: str) -> None:
    if name not in self.methods:
      raise InputError(
        f"{self._path} cannot {name}, only {', '.join(self.methods)}. {METHODS[name].hint.format(path=self._path)}"
      )

  def _cut(self, whole: Sequences) -> Sequences:
    cut = truncate_longest(whole, self.max_length)
    self._warn(whole, cut)
    return cut

  def _warn(self, whole: Sequences, cut: Sequences) -> None:
    number = np.count_nonzero(cut.lengths < whole.lengths)
    if number and not self._has_warned:
      self._has_warned = True
      say(f"warning: {number:,} of {len(whole):,} texts cut to {self.max_length} tokens; this is said once")

  def _run(
    self, forward: Callable, sequences: Sequences, batch_size: int, fields: Mapping[str, np.ndarray] | None = None
  ) -> Results:
    check_token_types(sequences.paired, self.config.token_types, self._path)
    # What is asked to be float32 shall not be multiplied in TensorFloat-32 or bfloat16, as accelerators would.
    precision = "float32" if self.config.dtype == jnp.float32 else None
    with jax.default_matmul_precision(precision):
      return run(
        functools.partial(forward, self.params),
        sequences,
        self.tokenizer,
        max_length=self.max_length,
        batch_size=batch_size,
        fields=fields,
      )

  @functools.cached_property
  def _encode(self) -> inference.Forward:
    return inference.make_encode(self.config)

  @functools.cached_property
  def _fill(self) -> inference.Forward:
    return inference.make_fill(self.config, self.tokenizer.vocab_size)

  @functools.cached_property
  def _classify(self) -> inference.Forward:
    return inference.make_classify(self.config, self.params["classifier"]["bias"].shape[0])

  @functools.cached_property
  def _span(self) -> inference.Forward:
    return inference.make_span(self.config)
