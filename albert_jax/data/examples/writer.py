"""Writes examples as a TFDS dataset, encoded in local processes, in the order of the source.

TFDS's own writer would keep a split in memory, and spill it through TensorFlow once it outgrows 1 GB.
"""

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds
from array_record.python import array_record_module

from albert_jax.data.examples.encode import Document, DocumentEncoder
from albert_jax.data.examples.metadata import SPLITS
from albert_jax.data.examples.parallel_map import ordered_map
from albert_jax.data.examples.progress import Progress
from albert_jax.data.text.sources import Source
from albert_jax.errors import InputError

# TFDS's name and version of the dataset: its folder is NAME/VERSION, and NAME begins the names of its files.
NAME, VERSION = "pretraining_examples", "1.0.0"
DESCRIPTION = "Whole sentences of one document a record, without special tokens."
SHARD_BYTES = 256 << 20
BATCH_CHARACTERS = 1 << 19  # of text that travels to a worker at a time


def example_features(encoder: DocumentEncoder) -> tfds.features.FeaturesDict:
  """One chunk: its ids, the lengths of its sentences, and the hash of its document's key.

  Raw bytes, because TFDS stores plain integers as int64 and cannot read a large uint64 back.
  """

  def tensor(shape, dtype):
    return tfds.features.Tensor(shape=shape, dtype=np.dtype(dtype).type, encoding="bytes")

  return tfds.features.FeaturesDict(
    {
      "tokens": tensor((None,), encoder.token_dtype),
      "sentence_lengths": tensor((None,), encoder.length_dtype),
      "document": tensor((), np.uint64),
    }
  )


def write_examples(
  source: Source, encoder: DocumentEncoder, directory: Path, *, processes: int, progress: bool
) -> list[tfds.core.SplitInfo]:
  """Encodes the source and writes both splits as the records arrive, in order.

  Args:
    source: the text.
    encoder: from documents to examples.
    directory: an empty folder; afterwards a dataset that TFDS reads.
    processes: that encode.
    progress: whether to show how far it has come.

  Raises:
    InputError: a split has no example, or a process was killed.
  """
  encode = _SerializingEncoder(encoder)
  template = tfds.core.ShardedFileTemplate(
    data_dir=directory, dataset_name=NAME, split=SPLITS[0], filetype_suffix="array_record"
  )
  with contextlib.ExitStack() as stack:
    writers = {split: stack.enter_context(_SplitWriter(template.replace(split=split))) for split in SPLITS}
    shown = stack.enter_context(Progress(enabled=progress))
    results = ordered_map(encode, _batches(shown.count(source.documents())), processes)
    for records in stack.enter_context(contextlib.closing(results)):
      for split, record in records:
        writers[split].write(record)
      shown.add_examples(len(records))
    splits = [writer.finish() for writer in writers.values()]
  tfds.folder_dataset.write_metadata(
    data_dir=directory,
    features=example_features(encoder),
    split_infos=splits,
    version=VERSION,
    filename_template=template,
    check_data=False,  # would read it through TensorFlow
    description=DESCRIPTION,
    disable_shuffling=True,  # readers shuffle anew every epoch
  )
  return splits


class _SerializingEncoder:
  """Documents to (split, serialized example) pairs; runs in the worker processes."""

  def __init__(self, encoder: DocumentEncoder):
    self._encoder = encoder
    self._features = None

  def __call__(self, documents: Sequence[Document]) -> list[tuple[str, bytes]]:
    if self._features is None:
      self._features = example_features(self._encoder)
    return [
      (split, self._features.serialize_example(example))
      for split, examples in self._encoder.encode(documents)
      for example in examples
    ]


class _SplitWriter:
  """Streams one split into shards of bounded size, which get their names once they are counted."""

  def __init__(self, template):
    self._template = template
    self._lengths, self._bytes = [], 0
    self._room = 0
    self._writer = None

  def write(self, record: bytes) -> None:
    if self._room <= 0:
      self._close()
      self._writer = array_record_module.ArrayRecordWriter(os.fspath(self._unnamed(len(self._lengths))), "group_size:1")
      self._lengths.append(0)
      self._room = SHARD_BYTES
    self._writer.write(record)
    self._lengths[-1] += 1
    self._bytes += len(record)
    self._room -= len(record)

  def finish(self) -> tfds.core.SplitInfo:
    self._close()
    number = len(self._lengths)
    if not number:
      raise InputError(
        f"The {self._template.split} split holds no example: its documents have no tokens. "
        "Change data.valid_fraction or data.holdout_seed, or check the text."
      )
    for i in range(number):
      named = self._template.sharded_filepath(shard_index=i, num_shards=number)
      os.replace(self._unnamed(i), named)
    return tfds.core.SplitInfo(
      name=self._template.split,
      shard_lengths=self._lengths,
      num_bytes=self._bytes,
      filename_template=self._template,
    )

  def _unnamed(self, shard: int):
    return self._template.data_dir / f"{self._template.split}.{shard}"

  def _close(self) -> None:
    if self._writer is not None:
      self._writer.close()
      self._writer = None

  def __enter__(self):
    return self

  def __exit__(self, *error):
    self._close()


def _batches(documents: Iterator[Document]) -> Iterator[list[Document]]:
  """Groups documents so that a batch holds about BATCH_CHARACTERS of text."""
  batch, size = [], 0
  for document in documents:
    batch.append(document)
    size += len(document[1])
    if size >= BATCH_CHARACTERS:
      yield batch
      batch, size = [], 0
  if batch:
    yield batch
