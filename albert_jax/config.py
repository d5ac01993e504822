"""Config records: as frozen settings for the parts, and as files beside a run."""

import dataclasses
import json
from pathlib import Path

import ml_collections

from albert_jax.errors import InputError
from albert_jax.files import new_file

FILE = "config.json"


def make_settings(cls, record: ml_collections.ConfigDict, **more):
  """Builds the frozen dataclass `cls` from the keys of a config record that are its fields. Config objects end here."""
  names = {field.name for field in dataclasses.fields(cls)}
  return cls(**{name: value for name, value in record.items() if name in names}, **more)


def save_config(config: ml_collections.ConfigDict, workdir: str) -> None:
  """Writes `config.json`, whole or not at all."""
  with new_file(Path(workdir) / FILE) as path:
    path.write_text(config.to_json_best_effort(indent=2) + "\n", encoding="utf-8")


def load_config(workdir: str) -> ml_collections.ConfigDict:
  """Reads `config.json` of a workdir.

  Raises:
    InputError: it is not there, or damaged.
  """
  path = Path(workdir) / FILE
  try:
    record = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(record, dict):
      raise ValueError("no JSON object")
  except FileNotFoundError as error:
    raise InputError(f"{path} does not exist: --workdir must be the folder of a run.") from error
  except ValueError as error:
    raise InputError(f"{path} is damaged ({error}): restore it, or start the run again elsewhere.") from error
  return ml_collections.ConfigDict(record)


def differences(old: ml_collections.ConfigDict, new: ml_collections.ConfigDict) -> dict[str, tuple]:
  """The keys on which two configs differ, with both values (None = not there)."""
  a, b = _flatten(old), _flatten(new)
  return {key: (a.get(key), b.get(key)) for key in sorted({*a, *b}) if a.get(key) != b.get(key)}


def _flatten(config: ml_collections.ConfigDict, prefix: str = "") -> dict:
  flat = {}
  for key, value in json.loads(config.to_json_best_effort()).items():
    if isinstance(value, dict):
      flat |= _flatten(ml_collections.ConfigDict(value), f"{prefix}{key}.")
    else:
      flat[prefix + key] = value
  return flat
