"""Config files and lab specs: Python files that a user names, with arguments after a colon."""

import importlib.util
import os
import sys
import traceback
from pathlib import Path
from typing import Any

from albert_jax.errors import InputError, unknown


def call_in_file(value: str, function: str, what: str) -> Any:
  """What a function of a Python file returns.

  Args:
    value: the path, and after a colon, if there is one, the argument of the function.
    function: its name.
    what: what such a file is called, for the messages.

  Raises:
    InputError: there is no such file, it cannot be executed, or it lacks the function; names file and line.
  """
  path, has_arguments, arguments = value.partition(":")
  if not os.path.isfile(path):
    raise unknown(what, path, _files(os.path.dirname(path) or "."))
  folder = os.path.dirname(os.path.dirname(os.path.abspath(path)))
  if folder not in sys.path:
    sys.path.insert(0, folder)  # such a file imports its neighbours
  spec = importlib.util.spec_from_file_location(Path(path).stem, path)
  module = importlib.util.module_from_spec(spec)
  try:
    spec.loader.exec_module(module)
    return getattr(module, function)(*([arguments] if has_arguments else []))
  except InputError:
    raise
  except SyntaxError as error:
    raise InputError(f"{error.filename}:{error.lineno}: {error.msg}.") from error
  except Exception as error:
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == module.__file__]
    place = f"{path}:{frames[-1].lineno}" if frames else path
    text = error.args[0] if len(error.args) == 1 else error
    raise InputError(f"{place}: {type(error).__name__}: {text}") from error


def _files(folder: str) -> list[str]:
  names = os.listdir(folder) if os.path.isdir(folder) else []
  return [os.path.join(folder, n) for n in names if n.endswith(".py") and n not in ("__init__.py", "common.py")]
