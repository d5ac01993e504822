"""Decides whether a workdir may be resumed with this config and data.

The signature of a run is its config, without the keys that do not affect the result (placement, speed, logging; `free`
in the schema), and the fingerprints of data and tokenizer, which stand for the paths that they are read from.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import ml_collections

from albert_jax.config.records import differences, is_free, load_config, save_config
from albert_jax.errors import InputError, unknown
from albert_jax.files import new_file
from albert_jax.json_files import read_json
from albert_jax.training.task import TaskData

FILE = "fingerprints.json"


def check_signature(
  workdir: str, config: ml_collections.ConfigDict, data: TaskData, allowed: Sequence[str] = ()
) -> dict[str, tuple]:
  """Compares a run with what it is to be resumed as.

  Args:
    workdir: of the run; holds what `save_signature` wrote.
    config: of now.
    data: of now.
    allowed: fields that may differ: keys of the config, "data", "tokenizer".

  Returns:
    The fields that differ, with the old and the new value (None = not there).

  Raises:
    InputError: a field differs that is not in `allowed`; or the workdir does not say what the run was.
  """
  changes = {key: pair for key, pair in differences(load_config(workdir), config).items() if not is_free(key)}
  old, new = _load(workdir), _fingerprints(data)
  changes |= {key: (old.get(key), new[key]) for key in new if old.get(key) != new[key]}
  refused = [key for key in changes if key not in allowed]
  if refused:
    told = "\n".join(f"  {key} was {changes[key][0]!r}, it is now {changes[key][1]!r}" for key in refused)
    raise InputError(
      f"{workdir} is another run:\n{told}\n"
      "Give it what it had, name a new --workdir, or change it on purpose: "
      f"--allow_changes={','.join(refused)}"
    )
  return changes


def check_allowed(config: ml_collections.ConfigDict, allowed: Sequence[str]) -> None:
  """Raises InputError where `allowed` names no field."""
  known = {*differences(ml_collections.ConfigDict(), config), *_NAMES}
  for key in allowed:
    if key not in known:
      raise unknown("field in --allow_changes", key, known)


def save_signature(workdir: str, config: ml_collections.ConfigDict, data: TaskData) -> None:
  """Writes `config.json` and the fingerprints, each whole or not at all."""
  save_config(config, workdir)
  with new_file(Path(workdir) / FILE) as path:
    path.write_text(json.dumps(_fingerprints(data), indent=2) + "\n", encoding="utf-8")


_NAMES = ("data", "tokenizer")


def _fingerprints(data: TaskData) -> dict[str, str]:
  return dict(zip(_NAMES, (data.fingerprint, data.tokenizer.fingerprint)))


def _load(workdir: str) -> dict[str, str]:
  path = Path(workdir) / FILE
  if not path.exists():
    return {}  # every fingerprint differs
  allow = f"--allow_changes={','.join(_NAMES)}"
  hint = f"Restore it; or, if the data is what it was, remove it and give {allow}"
  return read_json(path, dict.fromkeys(_NAMES, str), hint=hint)
