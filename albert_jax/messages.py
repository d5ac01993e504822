"""Messages to the user, on stderr; what libraries log goes to absl's log."""

import sys

import tqdm


def say(line: str) -> None:
  """Prints a line to stderr, above a progress bar if there is one."""
  tqdm.tqdm.write(line, file=sys.stderr)
  sys.stderr.flush()
