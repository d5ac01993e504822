"""The one exception that stands for a mistake of the user's, not of the program."""


class InputError(ValueError):
  """A bad file, key, value or shape.

  The message names the thing that is wrong and the way out; command-line programs print it without a
  traceback and exit with status 2.
  """
