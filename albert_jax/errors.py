"""The one exception that stands for a mistake of the user's, not of the program."""

import difflib
from collections.abc import Iterable


class InputError(ValueError):
  """A bad file, key, value or shape.

  The message names the thing that is wrong and the way out; command-line programs print it without a
  traceback and exit with status 2.
  """


class Diverged(InputError):
  """A training that came to its end because too many consecutive steps were skipped."""


def unknown(what: str, name: object, known: Iterable[str], listed_by: str = "") -> InputError:
  """An error for a name outside a fixed set: it lists the set and suggests the nearest.

  Args:
    what: what is being named, e.g. "sharing scheme".
    name: the name that was given.
    known: the names that exist.
    listed_by: what lists them, where they are too many for a message.
  """
  known = sorted(map(str, known))
  near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
  listing = f"Known: {', '.join(known)}."
  hint = f' Did you mean "{near[0]}"?' if near else ""
  return InputError(f'Unknown {what} "{name}".{hint} {f"{listed_by} lists all." if listed_by else listing}')
