"""Reading a model's tensors from safetensors files, one or several; nothing else is opened."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ml_dtypes  # noqa: F401 - gives NumPy bfloat16
import numpy as np
import safetensors

from albert_jax.errors import InputError
from albert_jax.messages import say

FILE = "model.safetensors"
INDEX = "model.safetensors.index.json"
_OTHER_FORMATS = ("pytorch_model.bin", "pytorch_model.bin.index.json", "tf_model.h5", "flax_model.msgpack")
_BUFFERS = ("embeddings.position_ids", "embeddings.token_type_ids")
_FLOATS = {"F32", "F16", "BF16"}


def read_json(path: Path) -> dict[str, Any]:
  """An object in a file.

  Raises:
    InputError: it cannot be read, or is no JSON object.
  """
  try:
    value = json.loads(path.read_text(encoding="utf-8"))
  except OSError as error:
    raise InputError(f"{path} cannot be read ({error.strerror}).") from error
  except ValueError as error:
    raise InputError(f"{path} is not JSON ({error}). Fetch it again.") from error
  if not isinstance(value, dict):
    raise InputError(f"{path} holds no JSON object. Fetch it again.")
  return value


def read_tensors(folder: Path) -> dict[str, np.ndarray]:
  """Every tensor by name, as float32; the constants that old files hold are left out.

  Raises:
    InputError: there are no safetensors, a file is missing or damaged, or a tensor has another dtype than floats.
  """
  tensors: dict[str, np.ndarray] = {}
  converted: set[str] = set()
  for path, names in _files(folder).items():
    with _open(path) as file:
      stored = set(file.keys())
      if missing := sorted((names or stored) - stored):
        raise InputError(f"{path} lacks {_some(missing)}, which {INDEX} says it holds. Fetch both again.")
      for name in sorted(n for n in names or stored if not n.endswith(_BUFFERS)):
        dtype = file.get_slice(name).get_dtype()
        if dtype not in _FLOATS:
          raise InputError(f"{path}: {name} is {dtype}; only {', '.join(sorted(_FLOATS))} can be read.")
        converted |= {dtype} - {"F32"}
        tensors[name] = file.get_tensor(name).astype(np.float32)
  if converted:
    say(f"{folder}: {' and '.join(sorted(converted))} became float32")
  return tensors


def _files(folder: Path) -> dict[Path, set[str] | None]:
  """The files to read, with the tensors to take from each (None = all)."""
  if (folder / FILE).exists():
    return {_inside(folder, FILE, f"{folder / FILE} is a link to a file"): None}
  if (folder / INDEX).exists():
    return _shards(folder)
  found = [name for name in _OTHER_FORMATS if (folder / name).exists()]
  reason = f"{', '.join(found)} is not read, since opening a pickle runs the code in it. " if found else ""
  raise InputError(
    f"{folder} has no {FILE}. {reason}Models are read from safetensors: with PyTorch, "
    "`AutoModelForPreTraining.from_pretrained(FOLDER).save_pretrained(NEW_FOLDER)` writes them."
  )


def _shards(folder: Path) -> dict[Path, set[str] | None]:
  index = folder / INDEX
  weight_map = read_json(index).get("weight_map")
  if not isinstance(weight_map, dict) or not all(isinstance(file, str) for file in weight_map.values()):
    raise InputError(f"{index} has no weight_map from tensors to files. Fetch it again.")
  shards: dict[Path, set[str] | None] = {}
  for name, file in weight_map.items():
    shards.setdefault(_inside(folder, file, f"{index} names the file {file!r},"), set()).add(name)
  if missing := [path.name for path in shards if not path.exists()]:
    raise InputError(f"{folder} lacks {_some(missing)}, which {INDEX} names.")
  return shards


def _inside(folder: Path, file: str, what: str) -> Path:
  """The path of a file. Index and links came with the model, so they may only lead to what lies beside them.

  In Hugging Face's cache the files below snapshots/REVISION are links into blobs/, which is as good as beside.
  """
  path = folder / file
  home = folder.resolve()
  blobs = next((parent.parent / "blobs" for parent in home.parents if parent.name == "snapshots"), home)
  if Path(file).name != file or {*"\\\0"} & {*file} or path.resolve().parent not in (home, blobs):
    raise InputError(f"{what} which is not in that folder.")
  return path


@contextlib.contextmanager
def _open(path: Path) -> Iterator[Any]:
  try:
    with safetensors.safe_open(path, framework="numpy") as file:
      yield file
  except safetensors.SafetensorError as error:
    raise InputError(f"{path} is no safetensors file, or a damaged one ({error}). Fetch it again.") from error
  except OSError as error:
    raise InputError(f"{path} cannot be read ({error}).") from error


def _some(names: list[str]) -> str:
  return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
