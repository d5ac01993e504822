"""Where text comes from: `pydoc`, `files:GLOB` and `tfds:NAME/CONFIG` behind one interface.

A source is a list of shards, and a shard is a stream of documents, so that processes and Beam workers
can each read their share. A document's text has one sentence or one paragraph a line.
"""

import abc
import difflib
import hashlib
import json
from collections.abc import Iterator

from albert_jax.errors import InputError


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


def open_source(spec: str, *, text_key: str = "text") -> Source:
  """Opens a source of text and checks that a first document can be read.

  Args:
    spec: `pydoc` (documentation installed with Python and this project's dependencies),
      `files:GLOB` or `tfds:NAME/CONFIG`.
    text_key: the field that holds the text, in .jsonl, .parquet and TFDS.

  Raises:
    InputError: the source is unknown, missing, unreadable or empty.
  """
  # Imported here: each of them imports this module for `Source`.
  from albert_jax.data.source_files import FilesSource
  from albert_jax.data.source_pydoc import PydocSource
  from albert_jax.data.source_tfds import TfdsSource

  scheme, _, rest = spec.partition(":")
  if scheme == "pydoc" and not rest:
    source = PydocSource()
  elif scheme == "files" and rest:
    source = FilesSource(rest, text_key)
  elif scheme == "tfds" and rest:
    source = TfdsSource(rest, text_key)
  else:
    forms = {"pydoc": "pydoc", "files": "files:GLOB", "tfds": "tfds:NAME/CONFIG"}
    near = difflib.get_close_matches(scheme, forms, n=1)
    hint = f"Did you mean {forms[near[0]]!r}? " if near else ""
    raise InputError(f"Unknown source {spec!r}. {hint}Sources are {', '.join(forms.values())}.")
  if next(source.documents(), None) is None:
    raise InputError(f"Source {spec!r} holds no text: every document in it is empty.")
  return source
