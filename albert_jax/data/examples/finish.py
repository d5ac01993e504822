"""Completes a set: adds to the written records what batching needs before it reads one."""

import dataclasses
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds

from albert_jax.data.examples.encode import DocumentEncoder
from albert_jax.data.examples.metadata import UNIGRAM_COUNTS, sizes_file, write_metadata
from albert_jax.data.examples.reader import Examples
from albert_jax.data.text.sources import Source

COUNTED_AT_ONCE = 4096  # examples


def finish_set(
  source: Source, encoder: DocumentEncoder, directory: Path, splits: Sequence[tfds.core.SplitInfo]
) -> None:
  """Adds sizes, unigram counts, a copy of the tokenizer and, last, `metadata.json`."""
  tokenizer = encoder.tokenizer
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
    "splits": {split.name: {"shards": _shards(directory, split)} for split in splits},
  }
  files = [copy, UNIGRAM_COUNTS]
  for split in splits:
    name = split.name
    counts, sizes_2X, unigrams = _count(Examples(directory, name, metadata), tokenizer.vocab_size)
    metadata["splits"][name] = counts | metadata["splits"][name]
    np.save(directory / sizes_file(name), sizes_2X)
    files.append(sizes_file(name))
    if name == "train":
      np.save(directory / UNIGRAM_COUNTS, unigrams)
  write_metadata(directory, metadata, files)


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
