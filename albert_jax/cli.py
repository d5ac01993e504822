"""What the command-line programs share: a user's mistake ends them with one line and status 2, without a traceback."""

import ast
import os
import sys
from collections.abc import Callable

from absl import app, flags, logging

from albert_jax.errors import InputError, unknown


def run(main: Callable[[list[str]], None]) -> None:
  """Parses the flags and calls `main`, as `absl.app.run` does, but tells a user's mistakes without a traceback."""

  def guarded(argv: list[str]) -> None:
    if not flags.FLAGS["verbosity"].present:
      logging.set_verbosity(logging.WARNING)  # the libraries' chatter is for --verbosity=0
    try:
      main(argv)
    except InputError as error:
      _fail(error)

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
  """ml_collections tells of a missing config file late and at length."""
  for argument, following in zip(argv, [*argv[1:], ""]):
    name, has_value, value = argument.lstrip("-").partition("=")
    if name == "config":
      path = (value if has_value else following).split(":")[0]
      if path and not os.path.isfile(path):
        folder = os.path.dirname(path) or "."
        files = [os.path.join(folder, f) for f in os.listdir(folder)] if os.path.isdir(folder) else []
        raise unknown("config file", path, (f for f in files if f.endswith(".py")))


def _fail(error: object) -> None:
  text = str(error)
  if "InputError: " in text:  # raised by a config file, and wrapped with its traceback in a flag's error
    text = text.rpartition("InputError: ")[2].strip()
  while text[:1] in "'\"":  # a KeyError shows its message quoted
    text = str(ast.literal_eval(text.partition("\n")[0])) + "".join(text.partition("\n")[1:])
  if isinstance(error, KeyError):
    text = f"unknown config key {text}"
  print(f"error: {text}", file=sys.stderr)
  sys.exit(2)
