"""What makes a run that one and no other: a resumed run must have the same, or be told on purpose what changes.

The identity is the config, without the keys that decide only where, how fast and how observed the run computes, and
the fingerprints of data and tokenizer, which stand for the paths that they are read from.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import ml_collections

from albert_jax.config import differences, load_config, save_config
from albert_jax.errors import InputError, unknown
from albert_jax.files import new_file
from albert_jax.training.task import TaskData

FILE = "fingerprints.json"
# Keys, or groups of them, that may change freely. `train.microbatches` is not among them: each microbatch draws its
# own dropout masks. Nor is `train.steps`: the learning rate decays over them.
FREE = (
  *("name", "mesh", "checkpoint", "model.remat", "model.layer_loop", "model.attention", "eval.batch_size"),
  *("train.loss_chunks", "train.deterministic", "train.compiler_options"),
  *("train.log_every", "train.timeout", "train.max_bad_steps"),
  *("data.source", "data.dir", "data.tokenizer", "data.cache_dir", "data.workers", "data.prefetch"),
)


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
  changes = {key: pair for key, pair in differences(load_config(workdir), config).items() if not _is_free(key)}
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
  try:
    found = json.loads(path.read_text(encoding="utf-8"))
    return {name: found[name] for name in _NAMES}
  except FileNotFoundError:
    return {}  # every fingerprint differs
  except (ValueError, KeyError, TypeError) as error:
    raise InputError(
      f"{path} is damaged ({error!r}): restore it; or, if the data is what it was, remove it and give "
      f"--allow_changes={','.join(_NAMES)}"
    ) from error


def _is_free(key: str) -> bool:
  return any(key == free or key.startswith(free + ".") for free in FREE)
