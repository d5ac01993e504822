"""Where text comes from: `pydoc`, `files:GLOB`, `hub:OWNER/NAME` and `tfds:NAME/CONFIG` behind one interface.

A source is a list of shards, and a shard is a stream of documents, so that processes and Beam workers can each read
their share. A document's text has one sentence or one paragraph a line.
"""

import glob
import os
import re

from albert_jax.data.text.base import Source
from albert_jax.data.text.files import FilesSource
from albert_jax.data.text.hub import HubSource
from albert_jax.data.text.mixture import MixtureSource, Part
from albert_jax.data.text.pydoc import PydocSource
from albert_jax.data.text.tfds import TfdsSource
from albert_jax.errors import InputError, unknown
from albert_jax.hub import open_repository

SCHEMES = ("pydoc", "files", "hub", "tfds")


def open_source(spec: str, *, text_key: str = "text") -> Source:
  """Opens a source of text, and checks that a first document can be read where that needs no download.

  Args:
    spec: `pydoc` (documentation installed with Python and this project's dependencies; `pydoc:optax,jax` for some of
      them), `files:GLOB`, `files:FOLDER`, `hub:OWNER/NAME[@REVISION][/FOLDER or GLOB]` or `tfds:NAME/CONFIG`;
      or several, `SPEC + SPEC`. `0.3*SPEC` is a share of the documents.
    text_key: the field that holds the text, in .jsonl, .parquet, .csv, .tsv and TFDS; `a.b` is the field b of a.

  Raises:
    InputError: the source is unknown, missing, unreadable or empty.
  """
  terms = spec.split(" + ")
  parts = tuple(_make_part(term.strip(), text_key) for term in terms)
  source = parts[0].source if len(parts) == 1 and parts[0].share == 1 else MixtureSource(parts)
  source.check_readable()
  return source


def _make_part(term: str, text_key: str) -> Part:
  share = re.match(r"([0-9.]+)\*(?=[a-z]+:|pydoc)", term)
  if not share:
    return Part(_make_source(term, text_key), 1.0)
  try:
    value = float(share[1])
  except ValueError:
    value = 0.0
  if not 0 < value <= 1:
    raise InputError(f"The source {term!r}: the share {share[1]} is no number above 0 and at most 1.")
  return Part(_make_source(term[share.end() :], text_key), value)


def _make_source(spec: str, text_key: str) -> Source:
  scheme, _, rest = spec.partition(":")
  if scheme == "pydoc":
    return PydocSource(tuple(filter(None, rest.split(","))))
  if scheme in SCHEMES and not rest:
    raise InputError(
      f"The source {spec!r} names no text: give files:GLOB, files:FOLDER, hub:OWNER/NAME or tfds:NAME/CONFIG."
    )
  if scheme == "files":
    return FilesSource(rest, text_key)
  if scheme == "hub":
    return HubSource(*open_repository("dataset", rest), text_key)
  if scheme == "tfds":
    return TfdsSource(rest, text_key)
  if os.path.exists(spec) or glob.has_magic(spec) or (not rest and (os.sep in spec or os.path.splitext(spec)[1])):
    raise InputError(f"The source {spec!r} looks like a path: write files:{spec}")
  raise unknown("source of text", scheme, SCHEMES)
