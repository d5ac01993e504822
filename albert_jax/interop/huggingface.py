"""Reading a BERT or ALBERT in Hugging Face's format, and making a workdir of it."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import ml_collections
import numpy as np
from flax import traverse_util

from albert_jax.checkpoints.manager import Checkpoints
from albert_jax.config import FILE as CONFIG_FILE
from albert_jax.config import save_config
from albert_jax.config.records import new_config
from albert_jax.data.tokenizers.base import Tokenizer
from albert_jax.data.tokenizers.hf_folder import FOLDER as TOKENIZER_FOLDER
from albert_jax.data.tokenizers.hf_folder import has_tokenizer, load_folder, save_tokenizer
from albert_jax.errors import InputError
from albert_jax.files import new_folder
from albert_jax.interop import fields as config_fields
from albert_jax.interop.tensor_files import read_json, read_tensors
from albert_jax.interop.tensor_names import entries, param_specs, part_modules, to_ours
from albert_jax.tasks.settings import RUNTIME, encoder_config
from albert_jax.training.step import TrainState

_LISTED = 10


@dataclasses.dataclass(frozen=True)
class HuggingFaceModel:
  """The contents of a Hugging Face folder.

  Attributes:
    model: the config's `model` record, without dtype, remat and layer_loop, and with `classifier_dropout`.
    params: nested dict of float32 arrays by our names; heads and pooler only where the files have them.
    head: "pretrain" (masked LM and sentence pairs), "mlm", "classify", "choice", "span" or "encoder". A head for
      sentence pairs alone is in `params`, and counts as "encoder".
    labels: of a classifier, by number.
    regression: whether the classifier gives a number, not a label.
    tokenizer: None where the folder has no tokenizer's files.
  """

  model: dict[str, Any]
  params: dict[str, Any]
  head: str
  labels: tuple[str, ...]
  regression: bool
  tokenizer: Tokenizer | None


def read_huggingface(folder: str) -> HuggingFaceModel:
  """Reads a folder as `save_pretrained` writes it: config.json, safetensors and, if there is one, the tokenizer.

  The tensors tell which heads there are; a model without a head, such as those of sentence-transformers, will do.

  Raises:
    InputError: it is no BERT or ALBERT, one that our models do not follow exactly, or damaged.
  """
  path = Path(folder)
  file = str(path / CONFIG_FILE)
  fields = read_json(path / CONFIG_FILE)
  model = config_fields.model_record(fields, file)
  family = config_fields.family(fields, file)
  tensors = _bare_names(read_tensors(path), family, file)
  parts = [part for part, module in part_modules(family).items() if any(n.startswith(f"{module}.") for n in tensors)]
  outputs = tensors["classifier.bias"].size if "classifier.bias" in tensors else 1
  head = _head(parts, outputs, fields, file)
  inner = config_fields.inner_and_groups(fields, file)[0] if family == "albert" else 1
  config = encoder_config(ml_collections.ConfigDict(model | RUNTIME))
  params = _collect(tensors, param_specs(config, parts, outputs), family, inner, str(path))
  labels, regression = config_fields.labels_of(fields, outputs, file) if head == "classify" else ((), False)
  tokenizer = load_folder(folder) if has_tokenizer(folder) else None
  if tokenizer is not None and tokenizer.vocab_size > model["vocab_size"]:
    raise InputError(
      f"{folder}: the tokenizer has {tokenizer.vocab_size} pieces, but vocab_size in {CONFIG_FILE} is "
      f"{model['vocab_size']}: they are not of the same model."
    )
  return HuggingFaceModel(model, params, head, labels, regression, tokenizer)


def import_huggingface(folder: str, workdir: str) -> HuggingFaceModel:
  """Writes a workdir from which `train.py --config.init_from=WORKDIR` starts: config, checkpoint 0, tokenizer.

  Raises:
    InputError: the folder cannot be read, or the workdir is not empty.
  """
  found = read_huggingface(folder)
  with new_folder(workdir) as temporary:
    save_config(_config(found, workdir), str(temporary))
    if found.tokenizer is not None:
      save_tokenizer(found.tokenizer, str(temporary / TOKENIZER_FOLDER))
    checkpoints = Checkpoints(str(temporary))
    checkpoints.save(TrainState(jnp.zeros([], jnp.int32), found.params, ()), 0)
    checkpoints.close()
  return found


def _config(found: HuggingFaceModel, workdir: str) -> ml_collections.ConfigDict:
  task = "pretrain" if found.head in ("pretrain", "mlm", "encoder") else found.head
  # Both families number pairs as we do: 0 = in order, or B follows A; 1 = swapped, or a random B.
  pair = ("sop" if found.model["project_embeddings"] else "nsp") if "pair" in found.params else "none"
  config = new_config(task, Path(workdir).name)
  config.model.update(found.model | RUNTIME)
  tokenizer = str(Path(workdir) / TOKENIZER_FOLDER) if found.tokenizer is not None else ""
  config.data.update(max_length=found.model["positions"], tokenizer=tokenizer)
  if task == "pretrain":
    config.data.pair_objective = pair
  else:
    config.data.update(labels=() if found.regression else found.labels, regression=found.regression)
  return config


def _bare_names(tensors: dict[str, np.ndarray], family: str, file: str) -> dict[str, np.ndarray]:
  """The tensors by the names of a bare model of today, each once."""
  bare: dict[str, np.ndarray] = {}
  for name, tensor in tensors.items():
    new = name.removeprefix(f"{family}.")
    if ".LayerNorm." in new:  # the names of the original code, which early conversions kept
      new = new.replace(".gamma", ".weight").replace(".beta", ".bias")
    if new in bare:
      raise InputError(f"{file}: the files beside it hold {name} twice, under two names.")
    bare[new] = tensor
  head = part_modules(family)["mlm"]
  tied = {f"{head}.decoder.weight": "embeddings.word_embeddings.weight", f"{head}.decoder.bias": f"{head}.bias"}
  for copy, original in tied.items():
    if copy in bare and not np.array_equal(bare[copy], bare.setdefault(original, bare[copy])):
      raise InputError(f"{file}: {copy} and {original} differ; our models have one of both, as published.")
    bare.pop(copy, None)
  return bare


def _head(parts: Sequence[str], outputs: int, fields: Mapping[str, Any], file: str) -> str:
  # `architectures` is often stale: it only decides between heads that have the same tensors.
  architectures = str(fields.get("architectures"))
  if "classifier" in parts and ("pooler" not in parts or "ForTokenClassification" in architectures):
    raise InputError(
      f"{file}: a model that labels every token, for which there is no task here. Save its encoder alone "
      "(`AutoModel.from_pretrained(FOLDER).save_pretrained(NEW_FOLDER)`) and read that."
    )
  if "classifier" in parts and "span" in parts:
    raise InputError(f"{file}: there is a classifier and a head for spans; only models with one of both can be read.")
  if "classifier" in parts:
    return "choice" if outputs == 1 and "ForMultipleChoice" in architectures else "classify"
  if "span" in parts:
    return "span"
  if "mlm" in parts:
    return "pretrain" if "pair" in parts else "mlm"
  return "encoder"


def _collect(tensors: Mapping[str, np.ndarray], specs: dict, family: str, inner: int, folder: str) -> dict:
  """Our parameters from their tensors; every tensor is used, and every parameter filled."""
  table = entries(family, specs, inner=inner)
  wanted = {entry.name: entry for entry in table}
  unexpected = [f"{name} {list(tensors[name].shape)} is unexpected" for name in tensors if name not in wanted]
  missing = [f"{name} {list(wanted[name].shape)} is missing" for name in wanted if name not in tensors]
  half = _LISTED // 2  # of both kinds some are shown: a prefix before all names makes every one missing and unexpected
  problems = [*missing[:half], *unexpected[:half], *missing[half:], *unexpected[half:]]
  problems += [
    f"{name} is {list(tensors[name].shape)}, {CONFIG_FILE} asks for {list(entry.shape)}"
    for name, entry in wanted.items()
    if name in tensors and tensors[name].shape != entry.shape
  ]
  if problems:
    more = f"; and {len(problems) - _LISTED} more" if len(problems) > _LISTED else ""
    raise InputError(
      f"{folder}: tensors and {CONFIG_FILE} do not agree: {'; '.join(problems[:_LISTED])}{more}. Fetch both again, or "
      "save the model anew with transformers."
    )
  for name, tensor in tensors.items():
    if not np.isfinite(tensor).all():
      raise InputError(f"{folder}: the tensor {name} holds values that are not finite: fetch it again.")
  flat = traverse_util.flatten_dict(specs, sep="/")
  params = {path: np.empty(spec.shape, np.float32) for path, spec in flat.items()}
  for entry in table:
    place = params[entry.path] if entry.group is None else params[entry.path][entry.group]
    place[...] = to_ours(entry, tensors[entry.name], place.shape)
  return traverse_util.unflatten_dict(params, sep="/")
