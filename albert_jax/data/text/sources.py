"""Where text comes from: `pydoc`, `files:GLOB` and `tfds:NAME/CONFIG` behind one interface.

A source is a list of shards, and a shard is a stream of documents, so that processes and Beam workers
can each read their share. A document's text has one sentence or one paragraph a line.
"""

import difflib

from albert_jax.data.text.base import Source
from albert_jax.data.text.files import FilesSource
from albert_jax.data.text.pydoc import PydocSource
from albert_jax.data.text.tfds import TfdsSource
from albert_jax.errors import InputError


def open_source(spec: str, *, text_key: str = "text") -> Source:
  """Opens a source of text and checks that a first document can be read.

  Args:
    spec: `pydoc` (documentation installed with Python and this project's dependencies; `pydoc:optax,jax` for some of
      them), `files:GLOB` or `tfds:NAME/CONFIG`.
    text_key: the field that holds the text, in .jsonl, .parquet and TFDS.

  Raises:
    InputError: the source is unknown, missing, unreadable or empty.
  """
  scheme, _, rest = spec.partition(":")
  if scheme == "pydoc":
    source = PydocSource(tuple(filter(None, rest.split(","))))
  elif scheme == "files" and rest:
    source = FilesSource(rest, text_key)
  elif scheme == "tfds" and rest:
    source = TfdsSource(rest, text_key)
  else:
    forms = {"pydoc": "pydoc", "files": "files:GLOB", "tfds": "tfds:NAME/CONFIG"}
    near = difflib.get_close_matches(scheme, forms, n=1)
    hint = f"Did you mean {forms[near[0]]!r}? " if near else ""
    raise InputError(f"Unknown source {spec!r}. {hint}Sources are {', '.join(forms.values())}.")
  if next(source.head.documents(), None) is None:
    raise InputError(f"Source {spec!r} holds no text: every document in it is empty.")
  return source
