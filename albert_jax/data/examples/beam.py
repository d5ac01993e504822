"""Writes examples through TFDS on Apache Beam; the records are those that local processes write.

Imported only where a Beam runner was asked for: Beam is an extra.
"""

import contextlib
import io
import tempfile
from collections.abc import Sequence
from pathlib import Path

import apache_beam as beam
import tensorflow_datasets as tfds
from apache_beam.options.pipeline_options import PipelineOptions

from albert_jax.data.examples.encode import Document, DocumentEncoder
from albert_jax.data.examples.metadata import SPLITS
from albert_jax.data.examples.writer import DESCRIPTION, VERSION, example_features
from albert_jax.data.text.sources import Source


def write_with_beam(
  source: Source, encoder: DocumentEncoder, directory: Path, *, runner: str, options: Sequence[str]
) -> list[tfds.core.SplitInfo]:
  """As `writer.write_examples`, on a Beam runner whose workers must see `directory` under the same path.

  Args:
    source: the text.
    encoder: from documents to examples.
    directory: an empty folder; afterwards a dataset that TFDS reads.
    runner: its name, as "DirectRunner".
    options: flags for Beam.
  """
  config = tfds.download.DownloadConfig(
    try_download_gcs=False, beam_runner=runner, beam_options=PipelineOptions(list(options))
  )
  builder = PretrainingExamples(source, encoder, directory)
  # Without TFDS's messages about a download, and without its empty folder for one.
  with contextlib.redirect_stdout(io.StringIO()), tempfile.TemporaryDirectory() as folder:
    builder.download_and_prepare(download_dir=folder, download_config=config)
  for path in list(builder.data_path.iterdir()):
    path.rename(directory / path.name)
  builder.data_path.rmdir()
  builder.data_path.parent.rmdir()
  return list(builder.info.splits.values())


class PretrainingExamples(tfds.core.GeneratorBasedBuilder, skip_registration=True):
  """Chunks of documents as TFDS examples, in the order of the source, split by document.

  TFDS derives the name of the dataset, `writer.NAME`, from that of the class.
  """

  VERSION = tfds.core.Version(VERSION)

  def __init__(self, source: Source, encoder: DocumentEncoder, data_dir: Path):
    self._source, self._encoder = source, encoder
    super().__init__(data_dir=data_dir, file_format="array_record")

  def _info(self) -> tfds.core.DatasetInfo:
    return tfds.core.DatasetInfo(
      builder=self,
      description=DESCRIPTION,
      features=example_features(self._encoder),
      disable_shuffling=True,  # readers shuffle anew every epoch
    )

  def _split_generators(self, dl_manager, pipeline):
    """Makes both splits in one pipeline, which tokenises the text once."""
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
    chosen = examples | f"Choose {split}" >> beam.Filter(lambda pair: pair[0] == split)
    return chosen | f"Key {split}" >> beam.Values()
