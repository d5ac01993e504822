"""Config records: made from the schema, checked against it, kept beside a run, and read back."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ml_collections

from albert_jax.config.fields import TASKS
from albert_jax.config.schema import SCHEMA, fields_of
from albert_jax.errors import InputError, unknown
from albert_jax.files import new_file
from albert_jax.json_files import read_json

FILE = "config.json"


def new_config(task: str, name: str) -> ml_collections.ConfigDict:
  """Every key of a task with its default, unlocked; "" is a task of fine-tuning that is yet to be named."""
  config = ml_collections.ConfigDict()
  for key, field in fields_of(task, "").items():
    set_key(config, key, field.default_of(task))
  config.update(name=name, task=task)
  return config


def add_missing(config: ml_collections.ConfigDict) -> None:
  """Adds the keys of the config's task and source that it does not have yet, with their defaults."""
  for key, field in fields_of(config.task, config.data.source).items():
    if get_key(config, key) is None:
      set_key(config, key, field.default_of(config.task))


def split_lists(config: ml_collections.ConfigDict) -> None:
  """Makes lists of texts of what the command line gave for them: `0,1` comes as numbers, `pos,neg` as one text."""
  for key, value in flatten(config).items():
    if key in SCHEMA and isinstance(SCHEMA[key][0].default, tuple) and isinstance(value, list | tuple):
      texts = [str(item) if isinstance(item, int | float) else item for item in value]
      if len(texts) == 1 and isinstance(texts[0], str):
        texts = [text.strip() for text in texts[0].split(",")]
      set_key(config, key, tuple(texts))


def check_config(config: ml_collections.ConfigDict) -> None:
  """Checks every value of a complete config against the schema.

  Raises:
    InputError: a key is missing or unknown, or its value is not of the type or out of range. Names the key.
  """
  flat = flatten(config)
  for key in ("task", "data.source"):
    SCHEMA[key][0].check(key, flat.get(key))
  if config.task not in TASKS:
    raise unknown("task", config.task, TASKS)
  fields = fields_of(config.task, config.data.source)
  for key, value in flat.items():
    if key not in fields:
      raise unknown("config key", key, fields, listed_by="`python -m albert_jax.config`")
    fields[key].check(key, value)
  for key in fields:
    if key not in flat:
      raise InputError(f"The config lacks {key}: {fields[key].meaning}")


def is_free(key: str) -> bool:
  """Whether a resumed run may have another value of a key."""
  return key in SCHEMA and all(field.free for field in SCHEMA[key])


def make_settings(cls, record: ml_collections.ConfigDict, **more):
  """Builds the frozen dataclass `cls` from the keys of a config record that are its fields. Config objects end here."""
  names = {field.name for field in dataclasses.fields(cls)}
  return cls(**{**{name: value for name, value in record.items() if name in names}, **more})


def save_config(config: ml_collections.ConfigDict, workdir: str) -> None:
  """Writes `config.json`, whole or not at all."""
  with new_file(Path(workdir) / FILE) as path:
    path.write_text(config.to_json_best_effort(indent=2) + "\n", encoding="utf-8")


def load_config(workdir: str) -> ml_collections.ConfigDict:
  """Reads and checks `config.json` of a workdir. Keys that an earlier version did not have get what it meant by that.

  An import of an earlier version has keys of other tasks, which are left out.

  Raises:
    InputError: it is not there, or damaged.
  """
  path = Path(workdir) / FILE
  if not path.exists():
    raise InputError(f"{path} does not exist: --workdir must be the folder of a run.")
  record = read_json(path, {}, hint="Restore it, or start the run again elsewhere.")
  try:
    config = ml_collections.ConfigDict(_with_earlier_meaning(record))
    check_config(config)
  except InputError as error:
    raise InputError(f"{path} is damaged: {error} Restore it, or start the run again elsewhere.") from error
  return config


def adopt_earlier(config: ml_collections.ConfigDict, workdir: str, allowed: Sequence[str] = ()) -> dict[str, Any]:
  """Prepares a config to go on with a run of an earlier version, which did not have all of today's keys.

  A key that the run's `config.json` lacks, and that the config leaves at its default, gets the value that the run meant
  by not having it. So the command that began the run also resumes it.

  Args:
    config: of now; it is changed.
    workdir: of the run; one without a readable `config.json` changes nothing.
    allowed: keys that are meant to differ, and stay.

  Returns:
    The values that were set, by key.
  """
  try:
    record = _flatten(read_json(Path(workdir) / FILE, {}))
  except InputError:
    return {}  # no run, or one that `load_config` will refuse
  adopted, flat = {}, flatten(config)
  for key, field in fields_of(config.task, config.data.source).items():
    value = field.before_of(record, config.task)
    if key not in record and key not in allowed and flat.get(key) == field.default_of(config.task) != value:
      adopted[key] = value
  with config.unlocked():
    for key, value in adopted.items():
      set_key(config, key, value)
  return adopted


def _with_earlier_meaning(record: dict) -> dict:
  """The record with the keys that its version did not have, and lists as tuples."""
  flat = {key: tuple(value) if isinstance(value, list) else value for key, value in _flatten(record).items()}
  task, source = flat.get("task"), flat.get("data.source", "")
  if task in TASKS and isinstance(source, str):
    fields = fields_of(task, source)
    flat = {key: value for key, value in flat.items() if key in fields or key not in SCHEMA}
    for key, field in fields.items():
      flat.setdefault(key, field.before_of(flat, task))
  nested: dict = {}
  for key, value in flat.items():
    *groups, name = key.split(".")
    place = nested
    for group in groups:
      place = place.setdefault(group, {})
      if not isinstance(place, dict):
        raise InputError(f"{key} is no group of keys.")
    place[name] = value
  return nested


def differences(old: ml_collections.ConfigDict, new: ml_collections.ConfigDict) -> dict[str, tuple]:
  """The keys on which two configs differ, with both values (None = not there)."""
  a, b = flatten(old), flatten(new)
  return {key: (a.get(key), b.get(key)) for key in sorted({*a, *b}) if a.get(key) != b.get(key)}


def flatten(config: ml_collections.ConfigDict) -> dict[str, Any]:
  """Values by dotted key."""
  return _flatten(config.to_dict())


def _flatten(record: dict, prefix: str = "") -> dict[str, Any]:
  flat = {}
  for key, value in record.items():
    flat |= _flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
  return flat


def get_key(config: ml_collections.ConfigDict, key: str) -> Any:
  """The value of a dotted key, or None."""
  return flatten(config).get(key)


def set_key(config: ml_collections.ConfigDict, key: str, value: Any) -> None:
  """Sets a dotted key, which may be new."""
  *groups, name = key.split(".")
  for group in groups:
    if group not in config:
      config[group] = ml_collections.ConfigDict()
    config = config[group]
  config[name] = value
