"""Several sources as one, with a share of the documents of each."""

import dataclasses
from collections.abc import Iterator

from albert_jax.data.text.base import Source, digest


@dataclasses.dataclass(frozen=True)
class Part:
  """A source and the share of its documents that is read."""

  source: Source
  share: float

  def takes(self, key: str) -> bool:
    """Whether a document is read: a hash of its key decides, so that the choice is always the same."""
    return int(digest("share", key)[:16], 16) < self.share * 2**64


@dataclasses.dataclass(frozen=True)
class MixtureSource(Source):
  """The documents of its parts, one part after the other; examples are shuffled anew in every epoch.

  A shard is one of a part's, `NUMBER:SHARD`; a document's key is `NUMBER:KEY`.
  """

  parts: tuple[Part, ...]

  @property
  def spec(self) -> str:
    """`SHARE*SPEC + SHARE*SPEC + …`, without shares of 1."""
    shares = (f"{part.share:g}*" if part.share < 1 else "" for part in self.parts)
    return " + ".join(share + part.source.spec for share, part in zip(shares, self.parts))

  @property
  def fingerprint(self) -> str:
    """Hashes the parts' own and their shares."""
    return digest("mixture", 1, [(part.source.fingerprint, part.share) for part in self.parts])

  @property
  def shards(self) -> tuple[str, ...]:
    """Those of the parts."""
    return tuple(f"{number}:{shard}" for number, part in enumerate(self.parts) for shard in part.source.shards)

  def read(self, shard: str) -> Iterator[tuple[str, str]]:
    """Yields the documents of a part's shard that belong to its share."""
    number, _, inner = shard.partition(":")
    part = self.parts[int(number)]
    return ((f"{number}:{key}", text) for key, text in part.source.read(inner) if part.takes(key))

  def check_readable(self) -> None:
    """Every part has a first document, where looking needs no download."""
    for part in self.parts:
      part.source.check_readable()

  def check_unchanged(self) -> None:
    """Every part is what it was."""
    for part in self.parts:
      part.source.check_unchanged()
