"""Prepares sets of examples: made once for a text, a tokenizer and settings, then found again.

A set is a TFDS dataset (array_record) that also holds `metadata.json`, the lengths and unigram counts that batching
needs before it reads a record, and a copy of the tokenizer.
"""

import contextlib
import dataclasses
import errno
import fcntl
import functools
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import ml_collections

from albert_jax.config import make_settings
from albert_jax.data.examples.chunks import ExampleSettings
from albert_jax.data.examples.encode import DocumentEncoder, valid_threshold
from albert_jax.data.examples.finish import finish_set
from albert_jax.data.examples.metadata import METADATA
from albert_jax.data.examples.writer import NAME, VERSION, write_examples
from albert_jax.data.text.sentences import detect_layout
from albert_jax.data.text.sources import Source, open_source
from albert_jax.data.tokenizers.registry import Tokenizer, resolve_tokenizer
from albert_jax.errors import InputError
from albert_jax.files import new_folder
from albert_jax.messages import say

ALGORITHM = 2  # raise it when the same text and settings give other sentences or chunks


def prepare_from_config(data: ml_collections.ConfigDict, **options) -> tuple[Path, Tokenizer]:
  """Finds or makes what the `data` record of a config asks for: the tokenizer, then the examples.

  Args:
    data: has source, text_key, tokenizer, cache_dir, holdout_seed and the fields of `ExampleSettings`.
    options: as in `prepare`.

  Returns:
    The directory for `open_examples`, and the tokenizer that the examples were made with.
  """
  cache_dir = os.path.expanduser(data.cache_dir)
  source = open_source(data.source, text_key=data.text_key)
  tokenizer = resolve_tokenizer(data.tokenizer, source, cache_dir)
  settings = make_settings(ExampleSettings, data, seed=data.holdout_seed)
  return prepare(source, tokenizer, settings, cache_dir, **options), tokenizer


def prepare(
  source: Source,
  tokenizer: Tokenizer,
  settings: ExampleSettings,
  cache_dir: os.PathLike,
  *,
  processes: int | None = None,
  beam_runner: str | None = None,
  beam_options: Sequence[str] = (),
  progress: bool = True,
) -> Path:
  """Makes the set of examples unless it is already there, and returns its directory.

  Args:
    source: the text.
    tokenizer: encodes the text.
    settings: decide the chunks and the split.
    cache_dir: where sets are kept.
    processes: local processes; None takes every core that this process may use.
    beam_runner: a Beam runner by name, to use instead of local processes; its workers must see
      `cache_dir`. The records are the same.
    beam_options: flags for Beam, like "--project=...".
    progress: whether to show how far it has come.

  Raises:
    InputError: too little text, text that changed meanwhile, a directory that cannot be written, or no space left.
  """
  directory = _directory(source, tokenizer, settings, Path(cache_dir).expanduser().absolute())
  if (directory / METADATA).exists():
    return directory
  if beam_runner:
    write = functools.partial(_beam_writer(beam_runner), runner=beam_runner, options=beam_options)
  else:
    write = functools.partial(write_examples, processes=processes or _usable_cores(), progress=progress)
  with _one_at_a_time(directory), _full_disk_is_plain(cache_dir):
    if not (directory / METADATA).exists():
      _remove_leftovers(directory)
      layout = detect_layout(source) if settings.layout == "auto" else settings.layout
      encoder = DocumentEncoder(tokenizer, settings, layout, valid_threshold(source, settings))
      with new_folder(os.fspath(directory)) as folder:
        splits = write(source, encoder, folder)
        source.check_unchanged()
        finish_set(source, encoder, folder, splits)
  return directory


def _beam_writer(runner: str) -> Callable:
  try:
    from albert_jax.data.examples.beam import write_with_beam  # Beam is an extra
  except ImportError as error:
    raise InputError(f"Runner {runner!r} needs Apache Beam: pip install 'albert_jax[beam]'.") from error
  return write_with_beam


def _directory(source: Source, tokenizer: Tokenizer, settings: ExampleSettings, cache_dir: Path) -> Path:
  """A folder named after what is in it, and TFDS's own layout, name/version, inside."""
  identity = [ALGORITHM, source.fingerprint, tokenizer.fingerprint, dataclasses.asdict(settings)]
  fingerprint = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16]
  names = (source.spec, Path(tokenizer.path).stem)
  readable = [re.sub(r"[^A-Za-z0-9]+", "_", name.rsplit("/", 1)[-1]).strip("_") for name in names]
  name = "-".join([*(name[:32] for name in readable), str(settings.max_length), fingerprint])
  return cache_dir / name / NAME / VERSION


def _remove_leftovers(directory: Path) -> None:
  """Removes what a killed process left (the first pattern is an earlier version's), and a set without metadata."""
  for pattern in ("incomplete.*", f".{directory.name}-*"):
    for leftover in directory.parent.glob(pattern):
      shutil.rmtree(leftover, ignore_errors=True)
  shutil.rmtree(directory, ignore_errors=True)


@contextlib.contextmanager
def _one_at_a_time(directory: Path) -> Iterator[None]:
  """Holds the set's lock, so that a second process waits for the set instead of making it too.

  The system frees the lock of a process that dies.
  """
  path = directory.parent.parent / "lock"
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.open("w")
  except OSError as error:
    raise InputError(f"Cannot write to {path.parent}: {error.strerror}. Choose another data.cache_dir.") from error
  with lock:
    try:
      fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
      say(f"another process prepares {directory}: waiting for it")
      fcntl.flock(lock, fcntl.LOCK_EX)
    yield


@contextlib.contextmanager
def _full_disk_is_plain(cache_dir: os.PathLike) -> Iterator[None]:
  """Says in plain words that the disk is full, whichever library noticed."""
  try:
    yield
  except (OSError, RuntimeError) as error:
    if os.strerror(errno.ENOSPC) in str(error):
      raise InputError(f"No space left in {cache_dir}. Free some, or choose another data.cache_dir.") from error
    raise


def _usable_cores() -> int:
  # macOS has no affinity.
  return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
