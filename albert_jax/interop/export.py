"""Writing a workdir's model as a folder that `transformers` loads."""

import json
from collections.abc import Mapping
from typing import Any

import jax
import ml_collections
import numpy as np
import safetensors.numpy
from flax import traverse_util

from albert_jax.config import FILE as CONFIG_FILE
from albert_jax.config import load_config
from albert_jax.data.tokenizers.base import Tokenizer
from albert_jax.data.tokenizers.hf_folder import save_tokenizer
from albert_jax.data.tokenizers.registry import load_tokenizer
from albert_jax.errors import InputError
from albert_jax.files import new_folder
from albert_jax.interop.fields import albert_layout, config_fields
from albert_jax.interop.model_card import model_card
from albert_jax.interop.tensor_files import FILE as TENSORS_FILE
from albert_jax.interop.tensor_names import entries, in_model, to_hf, unshare
from albert_jax.messages import say
from albert_jax.models.sizes import EncoderConfig
from albert_jax.tasks.settings import encoder_config
from albert_jax.training.init_from import Pretrained, pretrained_of_run

# What follows "Bert" or "Albert" in a class's name → the parts that it has; of a task, the first that a model can fill.
_CLASSES = {
  "classify": {"ForSequenceClassification": ("pooler", "classifier")},
  "choice": {"ForMultipleChoice": ("pooler", "classifier")},
  "span": {"ForQuestionAnswering": ("span",)},
  "pretrain": {
    "ForPreTraining": ("mlm", "pooler", "pair"),
    "ForMaskedLM": ("mlm",),
    "ForNextSentencePrediction": ("pooler", "pair"),  # there is none of ALBERT's
    "Model": ("pooler",),
  },
}


def export_huggingface(workdir: str, folder: str, step: int | None = None) -> str:
  """Writes config, safetensors, tokenizer and a model card; returns the name of the class that loads them.

  A model with a projection from E to D becomes an ALBERT, one without a BERT. Sharing that these cannot express is
  undone: every layer gets a copy of the weights that it reads, so that the outputs stay the same.

  Args:
    workdir: of a run.
    folder: new or empty; it appears whole or not at all.
    step: which checkpoint; the best or newest by default.

  Raises:
    InputError: there is no such run or checkpoint, its encoder is recurrent, or the folder is not empty.
  """
  pretrained = pretrained_of_run(workdir, step)
  encoder = encoder_config(ml_collections.ConfigDict(pretrained.model))
  if encoder.is_recurrent:
    raise InputError(
      f"{workdir} is a {encoder.kind}, which Hugging Face's BERT and ALBERT are not: take --format=stablehlo."
    )
  name, parts = _class_of(pretrained, encoder)
  params = jax.tree.map(np.asarray, pretrained.restore({part: pretrained.specs[part] for part in ("encoder", *parts)}))
  layout, must_unshare = _layout(encoder)
  if must_unshare:
    params = unshare(params, encoder)
    say(f"{workdir}: every layer gets its own copy of shared weights, which a {name} cannot express")
  if name.endswith("Model") and not parts:
    say(f"{workdir} has no pooler: load it with add_pooling_layer=False, or {name} gets a new one")
  tokenizer = load_tokenizer(pretrained.tokenizer) if pretrained.tokenizer else None
  if tokenizer is None:
    say(f"warning: {workdir} has no tokenizer, and so {folder} gets none")
  fields = {"architectures": [name]} | config_fields(pretrained.model, layout) | _ids(tokenizer) | _labels(pretrained)
  card = model_card(load_config(workdir), pretrained, params, name, unshared=must_unshare)
  with new_folder(folder) as temporary:
    if tokenizer is not None:
      save_tokenizer(tokenizer, str(temporary), max_length=encoder.positions)
    safetensors.numpy.save_file(
      _tensors(params, layout, bare=name.endswith("Model")), temporary / TENSORS_FILE, {"format": "pt"}
    )
    (temporary / CONFIG_FILE).write_text(json.dumps(fields, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    (temporary / "README.md").write_text(card, encoding="utf-8")
  return name


def _class_of(pretrained: Pretrained, encoder: EncoderConfig) -> tuple[str, tuple[str, ...]]:
  """The class's name, and the parts that it has beside the encoder."""
  family = "Albert" if encoder.has_projection else "Bert"
  for suffix, parts in _CLASSES[pretrained.task].items():
    if {*parts} <= {*pretrained.specs} and family + suffix != "AlbertForNextSentencePrediction":
      return family + suffix, parts
  if pretrained.task == "pretrain":
    return f"{family}Model", ()
  raise InputError(f"{pretrained.path} lacks {' and '.join(parts)}, which a model for {pretrained.task} has.")


def _layout(encoder: EncoderConfig) -> tuple[tuple[int, int, int] | None, bool]:
  """ALBERT's (layers, inner, groups), None for a BERT; and whether each layer needs weights of its own for it."""
  own = tuple(range(encoder.layers))
  if not encoder.has_projection:
    return None, encoder.one_table != own
  layout = albert_layout(encoder.one_table) if encoder.one_table else None
  return (layout, False) if layout is not None else (albert_layout(own), True)


def _tensors(params: Mapping, layout: tuple[int, int, int] | None, *, bare: bool) -> dict[str, np.ndarray]:
  family = "bert" if layout is None else "albert"
  flat = traverse_util.flatten_dict(dict(params), sep="/")
  return {
    entry.name if bare else in_model(family, entry.name): np.ascontiguousarray(to_hf(entry, flat[entry.path]))
    for entry in entries(family, params, inner=layout[1] if layout else 1)
  }


def _ids(tokenizer: Tokenizer | None) -> dict[str, int]:
  if tokenizer is None:
    return {}
  return {"pad_token_id": tokenizer.pad_id, "bos_token_id": tokenizer.cls_id, "eos_token_id": tokenizer.sep_id}


def _labels(pretrained: Pretrained) -> dict[str, Any]:
  if pretrained.task != "classify":
    return {}
  outputs = pretrained.specs["classifier"]["bias"].shape[0]
  if pretrained.labels and len(pretrained.labels) != outputs:
    raise InputError(
      f"{pretrained.path}: data.labels has {len(pretrained.labels)} names, the classifier {outputs} outputs."
    )
  names = pretrained.labels or tuple(f"LABEL_{i}" for i in range(outputs))
  return {
    "id2label": dict(enumerate(names)),
    "label2id": {name: i for i, name in enumerate(names)},
    "problem_type": "single_label_classification" if pretrained.labels else "regression",
  }
