"""Reads JSON files against a declared shape, so that a damaged or foreign file ends in one line that names the place.

A shape is plain Python data:

- `str`, `bool`, `int` (within 64 bits), `float` (whole numbers too; always finite), `None`, or `object` for anything;
- `[shape]`, a list of any length whose items have the shape;
- `{"name": shape, "name?": shape}`, an object; a name that ends in `?` may be missing, and names that the shape does
  not mention are allowed;
- `{str: shape}`, an object with any names; beside others, `str` stands for all names that these do not mention;
- `(shape, shape)`, one of several.
"""

import json
import math
import os
from typing import Any

from albert_jax.errors import InputError
from albert_jax.files import read_bytes

_MAX_DEPTH = 100  # so that code which walks a value by recursion cannot run out of stack
_NAMES = {str: "text", bool: "true or false", int: "a whole number", float: "a number", None: "null"}


def read_json(path: str | os.PathLike[str], shape: Any = object, *, hint: str = "") -> Any:
  """Reads a JSON file whose value must have a shape.

  Args:
    path: a regular file in UTF-8.
    shape: see the module's docstring.
    hint: what the user can do about a damaged file.

  Raises:
    InputError: the file cannot be read, is not JSON, or its value has another shape.
  """
  return parse_json(read_bytes(path, hint=hint), shape, where=path, hint=hint)


def parse_json(text: str | bytes, shape: Any = object, *, where: str | os.PathLike[str], hint: str = "") -> Any:
  """Parses a JSON text whose value must have a shape.

  Args:
    text: of a file, or of one line of a .jsonl file; bytes are UTF-8.
    shape: see the module's docstring.
    where: the file, or the file and its line, for the messages.
    hint: what the user can do about it.

  Raises:
    InputError: it is not JSON, or its value has another shape.
  """
  try:
    value = json.loads(text)
  except (ValueError, RecursionError) as error:  # not JSON, or a number of thousands of digits; thousands of brackets
    raise InputError(f"{where} is damaged: it is not JSON ({error}). {hint}".strip()) from error
  problem = find_problem(value, shape)
  if not problem and _is_deep(value):
    problem = f"it is nested more than {_MAX_DEPTH} deep"
  if problem:
    raise InputError(f"{where} is damaged: {problem}. {hint}".strip())
  return value


def find_problem(value: Any, shape: Any, where: str = "") -> str:
  """Compares a value that JSON gave with a shape; returns what is wrong, with its place, or ""."""
  if not _is_plain(value):
    return f"{where or 'it'} holds half of a surrogate pair, which is no character"
  if isinstance(shape, tuple):
    problems = [find_problem(value, option, where) for option in shape]
    if "" in problems:
      return ""
    # The option of the same container is the one that was meant.
    inner = [
      p for p, option in zip(problems, shape) if isinstance(option, type(value)) and not isinstance(option, type)
    ]
    return inner[0] if inner else f"{where or 'it'} is {_describe(value)}, not {_describe_shape(shape)}"
  if isinstance(shape, dict) and isinstance(value, dict):
    return _find_in_object(value, shape, where)
  if isinstance(shape, list) and isinstance(value, list):
    return next(filter(None, (find_problem(item, shape[0], f"{where}[{i}]") for i, item in enumerate(value))), "")
  if shape is object or _is_scalar(value, shape):
    return ""
  return f"{where or 'it'} is {_describe(value)}, not {_describe_shape(shape)}"


def _find_in_object(value: dict, shape: dict, where: str) -> str:
  named = {name: part for name, part in shape.items() if name is not str}
  missing = [name for name in named if not name.endswith("?") and name not in value]
  if missing:
    return f"{where or 'it'} lacks {missing[0]!r}"
  items = {name.removesuffix("?"): part for name, part in named.items() if name.removesuffix("?") in value}
  if str in shape:
    items = dict.fromkeys(value, shape[str]) | items
  if not all(map(_is_plain, value)):
    return f"a name in {where or 'it'} holds half of a surrogate pair, which is no character"
  problems = (find_problem(value[name], part, f"{where}.{name}" if where else name) for name, part in items.items())
  return next(filter(None, problems), "")


def _is_scalar(value: Any, shape: Any) -> bool:
  if shape is None or value is None:
    return shape is value
  if shape is float:
    return math.isfinite(value) if type(value) is float else type(value) is int and abs(value) < 2**63
  return type(value) is shape and (shape is not int or -(2**63) <= value < 2**64)


def _is_plain(value: Any) -> bool:
  if isinstance(value, str):
    try:
      value.encode()
    except UnicodeEncodeError:
      return False
  return True


def _is_deep(value: Any) -> bool:
  level = [value]
  for _ in range(_MAX_DEPTH):
    items = (part.values() if isinstance(part, dict) else part for part in level if isinstance(part, dict | list))
    level = [item for part in items for item in part if isinstance(item, dict | list)]
    if not level:
      return False
  return True


def _describe(value: Any) -> str:
  if isinstance(value, dict):
    return "an object"
  if isinstance(value, list):
    return "a list"
  text = json.dumps(value)
  return text if len(text) < 40 else f"{text[:40]}…"


def _describe_shape(shape: Any) -> str:
  if isinstance(shape, tuple):
    return " or ".join(map(_describe_shape, shape))
  return (
    "an object" if isinstance(shape, dict) else "a list" if isinstance(shape, list) else _NAMES.get(shape, "a value")
  )
