"""`metadata.json` of a prepared set, and the names and checksums of the files beside its examples."""

import hashlib
import json
import os
from pathlib import Path

from albert_jax.data.text.base import digest
from albert_jax.errors import InputError
from albert_jax.files import require_file
from albert_jax.json_files import read_json

METADATA = "metadata.json"
UNIGRAM_COUNTS = "unigram_counts.npy"
SPLITS = ("train", "valid")
REBUILD = "Delete the directory and prepare the data again."

_SPLIT = {
  "documents": int,
  "sentences": int,
  "tokens": int,
  "examples": int,
  "shards": [{"file": str, "examples": int, "bytes": int}],
}
_SHAPE = {
  "source": {"spec": str, "fingerprint": str},
  "tokenizer": {
    "file": str,
    "path": str,
    "kind": str,
    "vocab_size": int,
    "lowercase": bool,
    "fingerprint": str,
  },
  "settings": {"max_length": int, "short_seq_prob": float, "layout": str, "valid_fraction": float, "seed": int},
  "layout": str,
  "dtypes": {"tokens": str, "sentence_lengths": str},
  "splits": dict.fromkeys(SPLITS, _SPLIT),
  "files?": {str: str},  # file → sha256; earlier versions have neither this nor the next
  "checksum?": str,
}
_DTYPES = ("uint8", "uint16", "uint32")


def sizes_file(split: str) -> str:
  """Name of the file that holds how many tokens and how many sentences each example of the split has."""
  return f"sizes.{split}.npy"


def cuts_file(split: str) -> str:
  """Name of the file that says which examples of the split begin or end inside a cut sentence."""
  return f"cuts.{split}.npy"


def read_metadata(directory: os.PathLike) -> dict:
  """Reads and checks `metadata.json` of a set.

  Raises:
    InputError: the directory holds no set, or the file is damaged.
  """
  path = Path(directory) / METADATA
  if not path.exists():
    raise InputError(
      f"{directory} holds no prepared examples: {METADATA} is missing. Make them with scripts/prepare_data.py."
    )
  metadata = read_json(path, _SHAPE, hint=REBUILD)
  problem = _find_problem(metadata)
  if problem:
    raise InputError(f"{path} is damaged: {problem}. {REBUILD}")
  return metadata


def write_metadata(directory: Path, metadata: dict, files: list[str]) -> None:
  """Writes `metadata.json`, with checksums of itself and of `files` in the directory."""
  metadata = metadata | {"files": {name: _sha256(directory / name) for name in files}}
  metadata["checksum"] = digest(metadata)
  (directory / METADATA).write_text(json.dumps(metadata, indent=2) + "\n", encoding="utf-8")


def check_file(directory: Path, name: str, metadata: dict) -> Path:
  """Returns the path of a file beside the examples after comparing it with its checksum, if the set has one.

  Raises:
    InputError: the file is missing, or is not what was written.
  """
  path = Path(directory) / name
  expected = metadata.get("files", {}).get(name)
  require_file(path, hint=REBUILD)
  try:
    actual = expected and _sha256(path)
  except OSError as error:
    raise InputError(f"{path} cannot be read: {error.strerror}. {REBUILD}") from error
  if actual != expected:
    raise InputError(f"{path} is damaged: its checksum is not that in {METADATA}. {REBUILD}")
  return path


def _find_problem(metadata: dict) -> str:
  if "checksum" in metadata and metadata["checksum"] != digest({k: v for k, v in metadata.items() if k != "checksum"}):
    return "its checksum is another"
  names = [metadata["tokenizer"]["file"], *metadata.get("files", {})]
  for split in SPLITS:
    shards = metadata["splits"][split]["shards"]
    names += [shard["file"] for shard in shards]
    if sum(shard["examples"] for shard in shards) != metadata["splits"][split]["examples"]:
      return f"its shards do not hold splits.{split}.examples together"
    if any(shard["examples"] < 1 or shard["bytes"] < 0 for shard in shards):
      return f"a shard in splits.{split} has no example"
  for name in names:
    if not name or os.path.basename(name) != name or name in (".", "..") or "\0" in name:
      return f"{name!r} is no name of a file beside it"
  for name, dtype in metadata["dtypes"].items():
    if name in ("tokens", "sentence_lengths") and dtype not in _DTYPES:
      return f"dtypes.{name} is {dtype!r}"
  if not 1 <= metadata["tokenizer"]["vocab_size"] < 2**32:
    return f"tokenizer.vocab_size is {metadata['tokenizer']['vocab_size']}"
  return ""


def _sha256(path: Path) -> str:
  with path.open("rb") as file:
    return hashlib.file_digest(file, "sha256").hexdigest()
