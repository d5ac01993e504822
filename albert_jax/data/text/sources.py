"""Where text comes from: `pydoc`, `files:GLOB` and `tfds:NAME/CONFIG` behind one interface.

A source is a list of shards, and a shard is a stream of documents, so that processes and Beam workers can each read
their share. A document's text has one sentence or one paragraph a line.
"""

import glob
import os

from albert_jax.data.text.base import Source
from albert_jax.data.text.files import FilesSource
from albert_jax.data.text.pydoc import PydocSource
from albert_jax.data.text.tfds import TfdsSource
from albert_jax.errors import InputError, unknown

SCHEMES = ("pydoc", "files", "tfds")


def open_source(spec: str, *, text_key: str = "text") -> Source:
  """Opens a source of text and checks that a first document can be read.

  Args:
    spec: `pydoc` (documentation installed with Python and this project's dependencies; `pydoc:optax,jax` for some of
      them), `files:GLOB`, `files:FOLDER` or `tfds:NAME/CONFIG`.
    text_key: the field that holds the text, in .jsonl, .parquet, .csv, .tsv and TFDS; `a.b` is the field b of a.

  Raises:
    InputError: the source is unknown, missing, unreadable or empty.
  """
  source = _make_source(spec, text_key)
  if next(source.head.documents(), None) is None:
    raise InputError(f"Source {spec!r} holds no text: every document in it is empty.")
  return source


def _make_source(spec: str, text_key: str) -> Source:
  scheme, _, rest = spec.partition(":")
  if scheme == "pydoc":
    return PydocSource(tuple(filter(None, rest.split(","))))
  if scheme in SCHEMES and not rest:
    raise InputError(f"The source {spec!r} names no text: give files:GLOB, files:FOLDER or tfds:NAME/CONFIG.")
  if scheme == "files":
    return FilesSource(rest, text_key)
  if scheme == "tfds":
    return TfdsSource(rest, text_key)
  if os.path.exists(spec) or glob.has_magic(spec) or (not rest and (os.sep in spec or os.path.splitext(spec)[1])):
    raise InputError(f"The source {spec!r} looks like a path: write files:{spec}")
  raise unknown("source of text", scheme, SCHEMES)
