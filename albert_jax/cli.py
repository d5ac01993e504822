"""What the command-line programs share: an InputError or a wrong flag ends them with one line and status 2."""

import sys
from collections.abc import Callable

from absl import app, flags

from albert_jax.errors import InputError


def run(main: Callable[[list[str]], None]) -> None:
  """Parses the flags and calls `main`, as `absl.app.run` does, but tells a user's mistakes without a traceback."""
  try:
    app.run(lambda argv: _guard(main, argv), flags_parser=_parse)
  except InputError as error:
    _fail(error)


def _parse(argv: list[str]) -> list[str]:
  try:
    rest = flags.FLAGS(argv)
  except (flags.Error, AttributeError, KeyError, TypeError, ValueError) as error:
    _fail(error)
  if len(rest) > 1:
    _fail(f"unexpected arguments {rest[1:]}: options begin with --.")
  return rest


def _guard(main: Callable[[list[str]], None], argv: list[str]) -> None:
  try:
    main(argv)
  except InputError as error:
    _fail(error)


def _fail(error: object) -> None:
  text = error.args[0] if isinstance(error, KeyError) and error.args else error
  print(f"error: {text}", file=sys.stderr)
  sys.exit(2)
