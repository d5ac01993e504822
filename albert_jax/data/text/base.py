"""The interface of every source of text: shards of documents, with a fingerprint."""

import abc
import copy
import dataclasses
import functools
import hashlib
import itertools
import json
from collections.abc import Iterator

from albert_jax.errors import InputError


class Source(abc.ABC):
  """A corpus of text: picklable, and read again at any time in the same order. Subclasses are frozen dataclasses."""

  spec: str
  shards: tuple[str, ...]

  @property
  @abc.abstractmethod
  def fingerprint(self) -> str:
    """Hex digest that changes when the content's identity changes; costs no reading of the text."""

  @abc.abstractmethod
  def read(self, shard: str) -> Iterator[tuple[str, str]]:
    """Yields (key, text) of each document in the shard; keys are unique in the source and stable."""

  def documents(self) -> Iterator[tuple[str, str]]:
    """Yields (key, text) of every document, shard after shard."""
    for shard in self.shards:
      yield from self.read(shard)

  @functools.cached_property
  def head(self) -> "Head":
    """The first documents, which are read once for all who only look at them."""
    return Head(self)

  def __getstate__(self):
    return {name: value for name, value in self.__dict__.items() if name != "head"}

  def check_readable(self) -> None:
    """Raises InputError unless a first document can be read."""
    if next(self.head.documents(), None) is None:
      raise InputError(f"Source {self.spec!r} holds no text: every document in it is empty.")

  def check_unchanged(self) -> None:
    """Raises InputError where the text is no longer what it was when this source was opened."""
    if dataclasses.replace(self).fingerprint != self.fingerprint:  # a copy that has looked at nothing yet
      raise InputError(f"{self.spec} changed while it was read. Start again once nothing writes to it any more.")


class Head:
  """The beginning of a source, which is kept once it is read.

  The check that there is text, a tokenizer's sample, the layout and the split all look at the same first documents.
  """

  def __init__(self, source: Source):
    self._source = source
    self._shards: dict[str, Iterator[tuple[str, str]]] = {}

  def read(self, shard: str) -> Iterator[tuple[str, str]]:
    """As `Source.read`. What is read stays in memory until `use_up`."""
    kept = self._shards.get(shard) or itertools.tee(self._source.read(shard), 1)[0]
    self._shards[shard] = kept
    return copy.copy(kept)  # goes its own way through what both have read

  def documents(self) -> Iterator[tuple[str, str]]:
    """As `Source.documents`, through `read`."""
    for shard in self._source.shards:
      yield from self.read(shard)

  def use_up(self) -> Iterator[tuple[str, str]]:
    """Yields every document for the last time, and frees the memory on the way."""
    try:
      for shard in self._source.shards:
        yield from self._shards.pop(shard, None) or self._source.read(shard)
    finally:
      self._shards.clear()


def digest(*parts) -> str:
  """Hex digest of anything that JSON can write, for fingerprints."""
  return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
