"""A trained model from any folder that holds one: a run's workdir, or a Hugging Face folder, here or on the Hub."""

import functools
import glob
from pathlib import Path

import jax
import numpy as np

from albert_jax import config as config_files
from albert_jax import hub
from albert_jax.errors import InputError
from albert_jax.interop.huggingface import HuggingFaceModel, read_huggingface
from albert_jax.json_files import read_json
from albert_jax.models.param import path_name
from albert_jax.training.init_from import Pretrained, pretrained_of_run

# What is taken from a model on the Hub: no pickles, no code.
WEIGHTS = ("config.json", "model*.safetensors", "model.safetensors.index.json")
TOKENIZER = ("*token*.json", "vocab.txt", "spiece.model")


def open_pretrained(path: str, step: int | None = None) -> Pretrained:
  """Opens a folder.

  Args:
    path: a workdir of `train.py`; a folder with Hugging Face's `config.json` and safetensors; or
      `hub:OWNER/NAME[@REVISION][/FOLDER]`, such a folder on the Hub, which is downloaded into its cache.
    step: which checkpoint of a workdir; the best or newest by default.

  Raises:
    InputError: it is none of them, it cannot be downloaded, or it is damaged.
  """
  if path.startswith(hub.PREFIX):
    path = _download(path.removeprefix(hub.PREFIX))
  if not is_huggingface(path):
    return pretrained_of_run(path, step)
  if step is not None:
    raise InputError(f"{path} is a Hugging Face folder: it has no step {step}.")
  return _pretrained_of_huggingface(path, read_huggingface(path))


def _download(address: str) -> str:
  repository, folder = hub.open_repository("model", address)
  prefix = f"{glob.escape(folder)}/" if folder else ""
  return str(Path(repository.download([prefix + pattern for pattern in WEIGHTS + TOKENIZER]), folder))


def is_huggingface(path: str) -> bool:
  """Whether a folder's `config.json` is Hugging Face's."""
  return "model" not in read_json(
    Path(path) / config_files.FILE, {}, hint="Give a run's workdir or a Hugging Face folder."
  )


def _place(path: str, params: dict, wanted: dict) -> dict:
  """The parameters that a nested dict of shapes names, with its shardings."""
  arrays = {path_name(where): array for where, array in jax.tree_util.tree_leaves_with_path(params)}
  return jax.tree_util.tree_map_with_path(
    lambda where, spec: jax.device_put(arrays[path_name(where)], spec.sharding), wanted
  )


def _pretrained_of_huggingface(path: str, found: HuggingFaceModel) -> Pretrained:
  return Pretrained(
    path=str(path),
    task="pretrain" if found.head in ("pretrain", "mlm", "encoder") else found.head,
    model=found.model,
    labels=() if found.regression else found.labels,
    tokenizer=str(path) if found.tokenizer is not None else "",
    specs=jax.tree.map(lambda array: jax.ShapeDtypeStruct(array.shape, np.dtype(array.dtype)), found.params),
    restore=functools.partial(_place, path, found.params),
    about=f"{path}, Hugging Face",
  )
