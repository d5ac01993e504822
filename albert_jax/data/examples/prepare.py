"""Prepares sets of examples: made once for a text, a tokenizer and settings, then found again.

A set is a TFDS dataset (array_record) that also holds `metadata.json`, the lengths and unigram counts
that batching wants before it reads a record, and a copy of the tokenizer.
"""

import contextlib
import dataclasses
import errno
import fcntl
import functools
import hashlib
import io
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds

from albert_jax.data.examples.chunks import ExampleSettings
from albert_jax.data.examples.encode import SPLITS, DocumentEncoder, valid_threshold
from albert_jax.data.examples.reader import (
  METADATA,
  UNIGRAM_COUNTS,
  ExampleBatch,
  Examples,
  open_examples,
  open_tokenizer,
  read_metadata,
  sizes_file,
)
from albert_jax.data.examples.writer import PretrainingExamples
from albert_jax.data.text.sentences import detect_layout
from albert_jax.data.text.sources import Source
from albert_jax.data.tokenizers.registry import Tokenizer
from albert_jax.errors import InputError
from albert_jax.messages import say

__all__ = [
  "SPLITS",
  "ExampleBatch",
  "ExampleSettings",
  "Examples",
  "open_examples",
  "open_tokenizer",
  "prepare",
  "read_metadata",
]

ALGORITHM = 2  # raise it when the same text and settings give other sentences or chunks
COUNTED_AT_ONCE = 4096  # examples


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
    processes: local processes; None takes every core that this process may use.
    beam_runner: a Beam runner by name, to use instead of local processes; its workers must see
      `cache_dir`. The records are the same.
    beam_options: flags for Beam, like "--project=...".

  Raises:
    InputError: too little text, a directory that cannot be written, or no space left.
  """
  directory = _directory(source, tokenizer, settings, Path(cache_dir).expanduser().absolute())
  if (directory / METADATA).exists():
    return directory
  with _one_at_a_time(directory), _full_disk_is_plain(cache_dir):
    if not (directory / METADATA).exists():
      # What a killed process left, or a set that lost its metadata.
      for leftover in (*directory.parent.glob("incomplete.*"), directory):
        shutil.rmtree(leftover, ignore_errors=True)
      layout = detect_layout(source) if settings.layout == "auto" else settings.layout
      encoder = DocumentEncoder(tokenizer, settings, layout, valid_threshold(source, settings))
      builder = PretrainingExamples(
        source=source,
        encoder=encoder,
        processes=processes or _usable_cores(),
        use_beam=beam_runner is not None,
        progress=progress,
        finish=functools.partial(_finish, source, encoder),
        data_dir=directory.parent.parent,
      )
      _build(builder, _download_config(beam_runner, beam_options))
  return directory


def _build(builder: PretrainingExamples, config: tfds.download.DownloadConfig) -> None:
  """Runs TFDS without its messages of a download and without its empty folder for one."""
  with contextlib.redirect_stdout(io.StringIO()), tempfile.TemporaryDirectory() as folder:
    builder.download_and_prepare(download_dir=folder, download_config=config)


def _directory(source: Source, tokenizer: Tokenizer, settings: ExampleSettings, cache_dir: Path) -> Path:
  """A folder named after what is in it, and TFDS's own layout, name/version, inside."""
  identity = [ALGORITHM, source.fingerprint, tokenizer.fingerprint, dataclasses.asdict(settings)]
  fingerprint = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16]
  names = (source.spec, Path(tokenizer.path).stem)
  readable = [re.sub(r"[^A-Za-z0-9]+", "_", name.rsplit("/", 1)[-1]).strip("_") for name in names]
  name = "-".join([*(name[:32] for name in readable), str(settings.max_length), fingerprint])
  return cache_dir / name / PretrainingExamples.name / str(PretrainingExamples.VERSION)


def _download_config(beam_runner: str | None, beam_options: Sequence[str]):
  if beam_runner is None:
    return tfds.download.DownloadConfig(try_download_gcs=False)
  try:
    from apache_beam.options.pipeline_options import PipelineOptions
  except ImportError as error:
    raise InputError(f"Runner {beam_runner!r} needs Apache Beam: pip install 'albert_jax[beam]'.") from error
  options = PipelineOptions(list(beam_options))
  return tfds.download.DownloadConfig(try_download_gcs=False, beam_runner=beam_runner, beam_options=options)


def _finish(source: Source, encoder: DocumentEncoder, directory: os.PathLike, splits) -> None:
  """Adds to the written records everything else that a set holds; `metadata.json` comes last."""
  directory, tokenizer = Path(directory), encoder.tokenizer
  copy = "tokenizer" + Path(tokenizer.path).suffix
  shutil.copyfile(tokenizer.path, directory / copy)
  metadata = {
    "source": {"spec": source.spec, "fingerprint": source.fingerprint},
    "tokenizer": {
      "file": copy,
      "path": tokenizer.path,
      "kind": tokenizer.kind,
      "vocab_size": tokenizer.vocab_size,
      "lowercase": tokenizer.lowercase,
      "fingerprint": tokenizer.fingerprint,
    },
    "settings": dataclasses.asdict(encoder.settings),
    "layout": encoder.layout,
    "dtypes": {
      "tokens": encoder.token_dtype.name,
      "sentence_lengths": encoder.length_dtype.name,
    },
    "splits": {name: {"shards": _shards(directory, split)} for name, split in splits.items()},
  }
  for name in splits:
    counts, sizes_2X, unigrams = _count(Examples(directory, name, metadata), tokenizer.vocab_size)
    metadata["splits"][name] = counts | metadata["splits"][name]
    np.save(directory / sizes_file(name), sizes_2X)
    if name == "train":
      np.save(directory / UNIGRAM_COUNTS, unigrams)
  (directory / METADATA).write_text(json.dumps(metadata, indent=2) + "\n")


def _shards(directory: Path, split: tfds.core.SplitInfo) -> list[dict]:
  return [
    {"file": name, "examples": length, "bytes": (directory / name).stat().st_size}
    for name, length in zip(sorted(split.filenames), split.shard_lengths)
  ]


def _count(examples: Examples, vocab_size: int) -> tuple[dict, np.ndarray, np.ndarray]:
  """Passes once over a split: its counts, tokens and sentences of each example [2, X] and its unigram counts [V]."""
  sizes_2X = np.empty((2, len(examples)), np.int32)
  unigrams = np.zeros(vocab_size, np.int64)
  documents, previous = 0, None
  for start in range(0, len(examples), COUNTED_AT_ONCE):
    batch = examples.get(np.arange(start, min(start + COUNTED_AT_ONCE, len(examples))))
    sizes_2X[:, start : start + len(batch.lengths)] = batch.lengths, batch.sentences
    unigrams += np.bincount(batch.tokens, minlength=vocab_size)
    # A document's examples are neighbours.
    documents += np.count_nonzero(np.diff(batch.document)) + (batch.document[0] != previous)
    previous = batch.document[-1]
  counts = {
    "documents": int(documents),
    "sentences": int(sizes_2X[1].sum()),
    "tokens": int(unigrams.sum()),
    "examples": len(examples),
  }
  return counts, sizes_2X, unigrams


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
