"""Reading a BERT or ALBERT in Hugging Face's format, and making a workdir of it."""

import dataclasses
import math
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
from albert_jax.interop.tensor_files import Header, read_headers, read_tensors
from albert_jax.interop.tensor_names import Entry, entries, from_hf, param_specs, part_modules
from albert_jax.json_files import read_json
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
  fields = read_json(path / CONFIG_FILE, config_fields.SHAPE, hint="Fetch it again.")
  model = config_fields.model_record(fields, file)
  family = config_fields.family(fields, file)
  headers, copies = _bare_names(read_headers(path), family, file)
  parts = [part for part, module in part_modules(family).items() if any(n.startswith(f"{module}.") for n in headers)]
  outputs = math.prod(headers["classifier.bias"].shape) if "classifier.bias" in headers else 1
  head = _head(parts, outputs, fields, file)
  inner = config_fields.inner_and_groups(fields, file)[0] if family == "albert" else 1
  config = encoder_config(ml_collections.ConfigDict(model | RUNTIME))
  specs = param_specs(config, parts, outputs)
  table = entries(family, specs, inner=inner)
  _check_tensors(headers, table, copies, str(path))
  labels, regression = config_fields.labels_of(fields, outputs, file) if head == "classify" else ((), False)
  tensors = read_tensors(headers)
  for copy, original in copies.items():
    if not np.array_equal(tensors[copy], tensors[original]):
      raise InputError(f"{file}: {copy} and {original} differ; our models have one of both, as published.")
  params = _collect(tensors, table, specs)
  tokenizer = load_folder(folder) if has_tokenizer(folder) else None
  if tokenizer is not None:
    tokenizer.check_fits(model["vocab_size"], f"vocab_size in {file}")
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


def _bare_names(headers: Mapping[str, Header], family: str, file: str) -> tuple[dict[str, Header], dict[str, str]]:
  """The tensors by the names of a bare model of today, and which of them are copies of which others."""
  bare: dict[str, Header] = {}
  for name, header in headers.items():
    new = name.removeprefix(f"{family}.")
    if ".LayerNorm." in new:  # the names of the original code, which early conversions kept
      new = new.replace(".gamma", ".weight").replace(".beta", ".bias")
    if new in bare:
      raise InputError(f"{file}: the files beside it hold {name} twice, under two names.")
    bare[new] = header
  head = part_modules(family)["mlm"]
  tied = {f"{head}.decoder.weight": "embeddings.word_embeddings.weight", f"{head}.decoder.bias": f"{head}.bias"}
  copies = {copy: original for copy, original in tied.items() if copy in bare}
  for copy, original in copies.items():
    bare.setdefault(original, bare[copy])  # files may leave out what they hold under another name
  return bare, copies


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


def _check_tensors(headers: Mapping[str, Header], table: Sequence[Entry], copies: Mapping[str, str], folder: str):
  """Every tensor is used, and every parameter filled; only then are tensors worth reading."""
  wanted = {entry.name: entry.shape for entry in table}
  wanted |= {copy: wanted[original] for copy, original in copies.items() if original in wanted}
  unexpected = [f"{name} {list(headers[name].shape)} is unexpected" for name in headers if name not in wanted]
  missing = [f"{name} {list(wanted[name])} is missing" for name in wanted if name not in headers]
  half = _LISTED // 2  # of both kinds some are shown: a prefix before all names makes every one missing and unexpected
  problems = [*missing[:half], *unexpected[:half], *missing[half:], *unexpected[half:]]
  problems += [
    f"{name} is {list(headers[name].shape)}, {CONFIG_FILE} asks for {list(shape)}"
    for name, shape in wanted.items()
    if name in headers and headers[name].shape != shape
  ]
  if problems:
    more = f"; and {len(problems) - _LISTED} more" if len(problems) > _LISTED else ""
    raise InputError(
      f"{folder}: tensors and {CONFIG_FILE} do not agree: {'; '.join(problems[:_LISTED])}{more}. Fetch both again, or "
      "save the model anew with transformers."
    )


def _collect(tensors: Mapping[str, np.ndarray], table: Sequence[Entry], specs: dict) -> dict:
  """Our parameters from tensors by their Hugging Face names."""
  flat = traverse_util.flatten_dict(specs, sep="/")
  params = {path: np.empty(spec.shape, np.float32) for path, spec in flat.items()}
  for entry in table:
    place = params[entry.path] if entry.group is None else params[entry.path][entry.group]
    place[...] = from_hf(entry, tensors[entry.name], place.shape)
  return traverse_util.unflatten_dict(params, sep="/")
