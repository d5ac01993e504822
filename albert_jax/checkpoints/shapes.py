"""Whether stored arrays are those that are asked for."""

from pathlib import Path
from typing import Any

import jax

from albert_jax.errors import InputError


def check_shapes(wanted: dict, stored: dict, path: Path) -> None:
  """Orbax casts and truncates in silence: compare first."""
  saved = {key: (tuple(leaf.shape), str(leaf.dtype)) for key, leaf in _flatten(stored).items()}
  problems = []
  for key, leaf in _flatten(wanted).items():
    own = (tuple(leaf.shape), str(leaf.dtype))
    if key not in saved:
      problems.append(f"{key} is missing")
    elif saved[key] != own:
      problems.append(f"{key} is {saved[key]}, the config asks for {own}")
  if problems:
    raise InputError(
      f"The checkpoint {path} does not fit this config: {'; '.join(problems[:5])}"
      f"{f' and {len(problems) - 5} more' if len(problems) > 5 else ''}. "
      "Use the config it was made with, or a new --workdir."
    )


def _flatten(tree: dict) -> dict[str, Any]:
  return {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}
