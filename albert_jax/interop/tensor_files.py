"""Reading a model's tensors from safetensors files, one or several; nothing else is opened."""

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import ml_dtypes  # noqa: F401 - gives NumPy bfloat16
import numpy as np
import safetensors

from albert_jax.errors import InputError
from albert_jax.files import require_file
from albert_jax.json_files import read_json
from albert_jax.messages import say

FILE = "model.safetensors"
INDEX = "model.safetensors.index.json"
_OTHER_FORMATS = ("pytorch_model.bin", "pytorch_model.bin.index.json", "tf_model.h5", "flax_model.msgpack")
_BUFFERS = ("embeddings.position_ids", "embeddings.token_type_ids")
_FLOATS = {"F32", "F16", "BF16"}


@dataclasses.dataclass(frozen=True)
class Header:
  """A tensor as the header of its file describes it, before anything of it is read.

  Attributes:
    file: that holds it.
    name: its name there.
    dtype: as safetensors writes it, "F32".
    shape: its dimensions.
  """

  file: Path
  name: str
  dtype: str
  shape: tuple[int, ...]


def read_headers(folder: Path) -> dict[str, Header]:
  """What the files hold, by name; the constants that old files hold are left out.

  Raises:
    InputError: there are no safetensors, a file is missing or damaged, or a tensor has another dtype than floats.
  """
  headers: dict[str, Header] = {}
  for path, names in _files(folder).items():
    with _open(path) as file:
      stored = set(file.keys())
      if missing := sorted((names or stored) - stored):
        raise InputError(f"{path} lacks {_some(missing)}, which {INDEX} says it holds. Fetch both again.")
      for name in sorted(n for n in names or stored if not n.endswith(_BUFFERS)):
        tensor = file.get_slice(name)
        headers[name] = Header(path, name, tensor.get_dtype(), tuple(tensor.get_shape()))
        if headers[name].dtype not in _FLOATS:
          raise InputError(f"{path}: {name} is {headers[name].dtype}; only {', '.join(sorted(_FLOATS))} can be read.")
  return headers


def read_tensors(headers: Mapping[str, Header]) -> dict[str, np.ndarray]:
  """The tensors of some headers as float32, under the same keys.

  Raises:
    InputError: a file cannot be read, or a tensor holds values that are not finite.
  """
  tensors: dict[str, np.ndarray] = {}
  for path in {header.file: None for header in headers.values()}:
    with _open(path) as file:
      for key, header in headers.items():
        if header.file == path:
          tensors[key] = file.get_tensor(header.name).astype(np.float32)
          if not np.isfinite(tensors[key]).all():
            raise InputError(f"{path}: the tensor {header.name} holds values that are not finite: fetch it again.")
  if converted := sorted({header.dtype for header in headers.values()} - {"F32"}):
    say(f"{path.parent}: {' and '.join(converted)} became float32")
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
  shards: dict[Path, set[str] | None] = {}
  for name, file in read_json(index, {"weight_map": {str: str}}, hint="Fetch it again.")["weight_map"].items():
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
  require_file(path)
  try:
    with safetensors.safe_open(path, framework="numpy") as file:
      yield file
  except safetensors.SafetensorError as error:
    raise InputError(f"{path} is no safetensors file, or a damaged one ({error}). Fetch it again.") from error
  except OSError as error:
    raise InputError(f"{path} cannot be read ({error}).") from error


def _some(names: list[str]) -> str:
  return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
