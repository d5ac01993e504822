"""How the command-line programs end: a user's mistake is one line and status 2, without a traceback.

Status 1 means that the program failed although nothing was wrong with what it was given; `scripts/supervise.sh` starts
it again.
"""

import errno
import os
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn

import ml_collections
from absl import app, flags, logging

from albert_jax.config.python_file import call_in_file
from albert_jax.config.records import flatten
from albert_jax.errors import InputError, unknown

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
# Of the file system as the user has set it up; anything else, such as EIO, may be gone at the next try.
_USERS = (
  *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY),
  *(errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL),
)


def run(main: Callable[[list[str]], None], leave: Callable[[int], None] = sys.exit) -> None:
  """Parses the flags and calls `main`, as `absl.app.run` does, but reports a user's mistakes without a traceback.

  Args:
    main: takes the arguments that are no flags.
    leave: ends the process after a failure, with a status.
  """

  def guarded(argv: list[str]) -> None:
    if not flags.FLAGS["verbosity"].present:
      logging.set_verbosity(logging.WARNING)  # --verbosity=0 shows what the libraries log
    try:
      main(argv)
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
      os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Exception as error:
      message = _users_mistake(error)
      if message is None:
        traceback.print_exc()
        leave(1)
      else:
        logging.info("Raised by:", exc_info=True)
        _print_error(message)
        leave(2)

  app.run(guarded, flags_parser=_parse)


def _users_mistake(error: BaseException) -> str | None:
  """The line for a mistake of the user's; None where the fault lies elsewhere."""
  if isinstance(error, InputError):
    return str(error)
  if isinstance(error, OSError) and error.errno in _NO_SPACE:
    return f"no space left{f' for {error.filename}' if error.filename else ''}: make room, then start again."
  if isinstance(error, OSError) and error.errno in _USERS and error.filename:
    return f"{os.fsdecode(error.filename)}: {error.strerror}."
  return None


def _parse(argv: list[str]) -> list[str]:
  try:
    _check_config(argv)
    rest = flags.FLAGS(argv)
  except InputError as error:
    _fail(str(error))
  except (flags.Error, AttributeError, KeyError, OSError, TypeError, ValueError) as error:
    _fail(_missing_flag() or (error.args and str(error.args[0])) or str(error))
  if len(rest) > 1:
    _fail(f"unexpected argument {rest[1]!r}: options begin with --.")
  return rest


def _missing_flag() -> str:
  """What to type, where a flag that a program needs was not given."""
  for name in flags.FLAGS:
    flag = flags.FLAGS[name]
    if flag.value is None and any("other than None" in validator.message for validator in flag.validators):
      example = "configs/albert_tiny.py" if name == "config" else name.upper()
      return f"--{name} is missing. {flag.help} For example: {sys.argv[0]} --{name}={example}"
  return ""


def _check_config(argv: list[str]) -> None:
  """Loads the config file and checks the overridden keys, to name a mistake as ml_collections does not.

  Raises:
    InputError: there is no such file, it cannot be executed, or it has no such key.
  """
  given = _options(argv)
  value = given.get("config", "")
  if not value:
    return
  config = call_in_file(value, "get_config", "config file")
  if not isinstance(config, ml_collections.ConfigDict):
    path = value.partition(":")[0]
    raise InputError(f"{path}: get_config must return a config, such as common.finish gives, not {config!r}.")
  known = flatten(config)
  groups = {key.rpartition(".")[0] for key in known}
  for option in given:
    key = option.removeprefix("config.")
    if option.startswith("config.") and key not in known and key not in groups:
      raise unknown("config key", key, known, listed_by="`python -m albert_jax.config`")


def _options(argv: list[str]) -> dict[str, str]:
  """The flags of a command line by name, with their values."""
  found = {}
  for argument, following in zip(argv, [*argv[1:], ""]):
    if argument == "--":
      break
    if argument.startswith("-"):
      name, has_value, value = argument.lstrip("-").partition("=")
      found[name] = value if has_value else following
  return found


def _fail(message: str) -> NoReturn:
  _print_error(message)
  sys.exit(2)


def _print_error(message: str) -> None:
  print(f"error: {message}", file=sys.stderr)
