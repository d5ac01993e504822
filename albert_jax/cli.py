"""What the command-line programs share: a user's mistake ends them with one line and status 2, without a traceback."""

import ast
import errno
import os
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn

from absl import app, flags, logging

from albert_jax.errors import InputError, unknown


def run(main: Callable[[list[str]], None], leave: Callable[[int], None] = sys.exit) -> None:
  """Parses the flags and calls `main`, as `absl.app.run` does, but tells a user's mistakes without a traceback.

  Args:
    main: takes the arguments that are no flags.
    leave: ends the process after a failure, with a status.
  """

  def guarded(argv: list[str]) -> None:
    if not flags.FLAGS["verbosity"].present:
      logging.set_verbosity(logging.WARNING)  # the libraries' chatter is for --verbosity=0
    try:
      main(argv)
    except InputError as error:
      _tell(error)
      leave(2)
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
      os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Exception as error:
      if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
        _tell(f"no space left{f' for {error.filename}' if error.filename else ''}: make room, then start again.")
        leave(2)
      traceback.print_exc()
      leave(1)

  app.run(guarded, flags_parser=_parse)


def _parse(argv: list[str]) -> list[str]:
  try:
    _check_config_file(argv)
    rest = flags.FLAGS(argv)
  except (flags.Error, AttributeError, KeyError, OSError, TypeError, ValueError) as error:
    _fail(error)
  if len(rest) > 1:
    _fail(f"unexpected argument {rest[1]!r}: options begin with --.")
  return rest


def _check_config_file(argv: list[str]) -> None:
  """Lets a config file import its neighbours; ml_collections tells of a missing one late and at length."""
  for argument, following in zip(argv, [*argv[1:], ""]):
    name, has_value, value = argument.lstrip("-").partition("=")
    if name == "config":
      path = (value if has_value else following).split(":")[0]
      if path and not os.path.isfile(path):
        folder = os.path.dirname(path) or "."
        files = os.listdir(folder) if os.path.isdir(folder) else []
        known = (f for f in files if f.endswith(".py") and f not in ("__init__.py", "common.py"))
        raise unknown("config file", path, (os.path.join(folder, f) for f in known))
      sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(path))))


def _fail(error: object) -> NoReturn:
  _tell(error)
  sys.exit(2)


def _tell(error: object) -> None:
  text = str(error)
  if "InputError: " in text:  # raised by a config file, and wrapped with its traceback in a flag's error
    text = text.rpartition("InputError: ")[2].strip()
  while text[:1] in "'\"":  # a KeyError shows its message quoted
    text = str(ast.literal_eval(text.partition("\n")[0])) + "".join(text.partition("\n")[1:])
  if isinstance(error, (AttributeError, KeyError)):
    text = f"unknown config key {text}"
  print(f"error: {text}", file=sys.stderr)
