"""Inputs of the methods: one text, or several."""

from collections.abc import Iterable, Sequence
from typing import TypeVar

from albert_jax.errors import InputError

T = TypeVar("T")
Text = str | tuple[str, str]  # a text, or two that belong together


def as_list(texts: T | Sequence[T], kinds: type | tuple[type, ...] = str) -> tuple[list[T], bool]:
  """Texts as a list, and whether it was one alone.

  Raises:
    InputError: something is not of the kinds.
  """
  one = isinstance(texts, kinds)
  listed = list(texts) if isinstance(texts, Iterable) and not one else [texts]
  for text in listed:
    if not isinstance(text, kinds):
      raise InputError(f"A text must be a string, not {text!r}.")
    for part in text if isinstance(text, tuple) else (text,):
      require_text(part)
  return listed, one


def require_text(text: object) -> None:
  """Raises InputError for what is no string, or holds what is no character."""
  if not isinstance(text, str):
    raise InputError(f"A text must be a string, not {text!r}.")
  try:
    text.encode()
  except UnicodeEncodeError as error:
    raise InputError(f"The text {text!r} holds half of a surrogate pair, which is no character.") from error


def split_pairs(texts: Sequence[Text]) -> tuple[list[str], list[str] | None]:
  """Segments A and, where texts are pairs, B.

  Raises:
    InputError: there are both texts and pairs.
  """
  if all(isinstance(text, str) for text in texts):
    return list(texts), None
  if not all(isinstance(text, tuple) and len(text) == 2 for text in texts):
    raise InputError("Give either texts or pairs of texts, as tuples of two, in one call.")
  return [first for first, _ in texts], [second for _, second in texts]
