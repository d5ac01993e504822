"""The TFDS dataset of pretraining examples: written by local processes or on Apache Beam."""

import contextlib
import os
from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow_datasets as tfds
from array_record.python import array_record_module

from albert_jax.data.examples.encode import SPLITS, Document, DocumentEncoder
from albert_jax.data.examples.parallel_map import ordered_map
from albert_jax.data.examples.progress import Progress
from albert_jax.data.text.sources import Source
from albert_jax.errors import InputError

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


class PretrainingExamples(tfds.core.GeneratorBasedBuilder, skip_registration=True):
  """Chunks of documents as TFDS examples, in the order of the source, split by document.

  Beam writes through TFDS. Local processes do not: TFDS's own writer keeps a split in memory, and
  spills it through TensorFlow once it outgrows 1 GB.
  """

  VERSION = tfds.core.Version("1.0.0")

  def __init__(
    self,
    *,
    source: Source,
    encoder: DocumentEncoder,
    processes: int,
    use_beam: bool,
    progress: bool,
    finish,
    data_dir: os.PathLike,
  ):
    self._source, self._encoder = source, encoder
    self._processes, self._use_beam, self._progress = processes, use_beam, progress
    self._finish = finish
    super().__init__(data_dir=data_dir, file_format="array_record")

  def _info(self) -> tfds.core.DatasetInfo:
    return tfds.core.DatasetInfo(
      builder=self,
      description="Whole sentences of one document a record, without special tokens.",
      features=example_features(self._encoder),
      disable_shuffling=True,  # readers shuffle anew every epoch
    )

  def _download_and_prepare(self, dl_manager, download_config):
    if self._use_beam:
      super()._download_and_prepare(dl_manager, download_config)
    else:
      self.info.set_splits(tfds.core.SplitDict(self._write_splits()))
    # Here, while the directory is still a temporary one: the set appears whole or not at all.
    self._finish(self.data_path, self.info.splits)

  def _write_splits(self) -> list[tfds.core.SplitInfo]:
    """Encodes in local processes and writes both splits as the records arrive, in order."""
    encode = _SerializingEncoder(self._encoder)
    with contextlib.ExitStack() as stack:
      writers = {split: stack.enter_context(_SplitWriter(self._get_filename_template(split))) for split in SPLITS}
      progress = stack.enter_context(Progress(enabled=self._progress))
      batches = _batches(progress.count(self._source.documents()))
      results = ordered_map(encode, batches, self._processes)
      for records in stack.enter_context(contextlib.closing(results)):
        for split, record in records:
          writers[split].write(record)
        progress.add_examples(len(records))
      return [writer.finish() for writer in writers.values()]

  def _split_generators(self, dl_manager, pipeline):
    """Both splits of one Beam pipeline, which tokenizes the text once."""
    import apache_beam as beam

    source, encoder = self._source, self._encoder
    shards = pipeline | beam.Create(list(source.shards))
    counts = shards | "Count" >> beam.Map(lambda shard: (shard, sum(1 for _ in source.read(shard))))

    def number_documents(shard: str, counts: dict[str, int]):
      before = sum(counts[s] for s in source.shards[: source.shards.index(shard)])
      return enumerate(source.read(shard), before)

    def encode_document(numbered: tuple[int, Document]):
      number, document = numbered
      [(split, examples)] = encoder.encode([document])
      # TFDS sorts by the key and spreads its range over the shards: so keys follow the source's order.
      return [(split, ((number << 32) + i, example)) for i, example in enumerate(examples)]

    examples = (
      shards
      | "Read" >> beam.FlatMap(number_documents, counts=beam.pvalue.AsDict(counts))
      | beam.Reshuffle()  # so that one large file is encoded by all workers
      | "Encode" >> beam.FlatMap(encode_document)
    )
    return {split: self._generate_examples(examples, split) for split in SPLITS}

  def _generate_examples(self, examples, split: str):
    import apache_beam as beam

    chosen = examples | f"Choose {split}" >> beam.Filter(lambda pair: pair[0] == split)
    return chosen | f"Key {split}" >> beam.Values()


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
        "Change data.valid_fraction or the seed, or check the text."
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
