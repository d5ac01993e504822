"""What every source of text is: shards of documents, with a fingerprint."""

import abc
import hashlib
import json
from collections.abc import Iterator


class Source(abc.ABC):
  """A corpus of text: picklable, re-readable and always in the same order."""

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


def digest(*parts) -> str:
  """Hex digest of anything that JSON can write: what fingerprints are made of."""
  return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
