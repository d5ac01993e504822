"""Reads a prepared set of examples at random, in batches of ragged arrays."""

import dataclasses
import functools
import os
from pathlib import Path

import numpy as np
from array_record.python import array_record_module
from tensorflow_datasets.proto import tf_example_pb2

from albert_jax.data.examples.metadata import REBUILD, SPLITS, UNIGRAM_COUNTS, check_file, read_metadata, sizes_file
from albert_jax.data.tokenizers.registry import Tokenizer, load_tokenizer
from albert_jax.errors import InputError, unknown


@dataclasses.dataclass(frozen=True)
class ExampleBatch:
  """X examples of uneven length: the values of all of them one after another, and how many each has.

  Attributes:
    tokens: [sum(lengths)] int32, ids without special tokens.
    lengths: [X] int32, tokens in each example.
    sentence_lengths: [sum(sentences)] int32, tokens in each sentence.
    sentences: [X] int32, sentences in each example.
    document: [X] uint64, hash of the document that each example comes from.
  """

  tokens: np.ndarray
  lengths: np.ndarray
  sentence_lengths: np.ndarray
  sentences: np.ndarray
  document: np.ndarray


class Examples:
  """Random access to one split of a set; picklable, and files open where they are first read.

  It parses records itself, because TFDS's data source decodes one example at a time in Python, which
  is several times slower.

  Attributes:
    metadata: counts, fingerprints and settings of the set.
  """

  def __init__(self, directory: os.PathLike, split: str, metadata: dict):
    self._directory, self._split = Path(directory), split
    self.metadata = metadata
    shards = metadata["splits"][split]["shards"]
    self._files = [self._directory / shard["file"] for shard in shards]
    self._starts = np.cumsum([0] + [shard["examples"] for shard in shards])
    self._token_dtype = np.dtype(metadata["dtypes"]["tokens"])
    self._length_dtype = np.dtype(metadata["dtypes"]["sentence_lengths"])
    self._readers = {}
    for file, shard in zip(self._files, shards):
      _check_size(file, shard["bytes"])

  def __len__(self) -> int:
    return int(self._starts[-1])

  def __getstate__(self):
    # Neither open files nor arrays that are mapped from a file belong in a pickle.
    state = self.__dict__ | {"_readers": {}}
    return {k: v for k, v in state.items() if k not in ("_sizes_2X", "unigram_counts")}

  @property
  def lengths(self) -> np.ndarray:
    """[len(self)] int32: tokens in every example, without special ones."""
    return self._sizes_2X[0]

  @property
  def sentences(self) -> np.ndarray:
    """[len(self)] int32: sentences in every example."""
    return self._sizes_2X[1]

  @functools.cached_property
  def _sizes_2X(self) -> np.ndarray:
    return self._load_array(sizes_file(self._split), 2, len(self))

  @functools.cached_property
  def unigram_counts(self) -> np.ndarray:
    """[V] int64: how often each id occurs in the train split, whichever split this is."""
    return self._load_array(UNIGRAM_COUNTS, self.metadata["tokenizer"]["vocab_size"])

  def get(self, indices: np.ndarray) -> ExampleBatch:
    """Reads the examples at `indices` [X], in that order.

    Raises:
      IndexError: an index is outside of [0, len).
      InputError: a file of the set is missing or damaged.
    """
    records = self._records(np.asarray(indices, np.int64))
    features = [tf_example_pb2.Example.FromString(r).features.feature for r in records]

    def ragged(name: str, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
      values = [feature[name].bytes_list.value[0] for feature in features]
      sizes = np.fromiter(map(len, values), np.int32, len(values)) // dtype.itemsize
      return np.frombuffer(b"".join(values), dtype), sizes

    tokens, lengths = ragged("tokens", self._token_dtype)
    sentence_lengths, sentences = ragged("sentence_lengths", self._length_dtype)
    document, _ = ragged("document", np.dtype(np.uint64))
    return ExampleBatch(
      tokens=tokens.astype(np.int32),
      lengths=lengths,
      sentence_lengths=sentence_lengths.astype(np.int32),
      sentences=sentences,
      document=document,
    )

  def _load_array(self, name: str, *shape: int) -> np.ndarray:
    path = check_file(self._directory, name, self.metadata)
    try:
      array = np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError) as error:
      raise InputError(f"{path} cannot be read: {error}. {REBUILD}") from error
    if array.shape != shape or array.dtype.kind != "i":
      raise InputError(f"{path} is damaged: it holds {array.dtype} {array.shape}, not integers {shape}. {REBUILD}")
    return array

  def _records(self, indices: np.ndarray) -> list[bytes]:
    if indices.size and not 0 <= indices.min() <= indices.max() < len(self):
      raise IndexError(f"The {self._split} split has examples 0 to {len(self) - 1}; got {indices}.")
    shards = np.searchsorted(self._starts, indices, side="right") - 1
    positions = indices - self._starts[shards]
    # Neighbours are read together. The reader's own call for a list of positions is no help: its cost
    # grows with the size of the file.
    breaks = np.flatnonzero((np.diff(indices) != 1) | (np.diff(shards) != 0)) + 1
    first = np.concatenate([[0], breaks])[: len(indices)]
    sizes = np.diff(first, append=len(indices))
    records = []
    for shard, start, size in zip(shards[first].tolist(), positions[first].tolist(), sizes.tolist()):
      records += self._read(shard, start, start + size)
    return records

  def _read(self, shard: int, start: int, stop: int) -> list[bytes]:
    try:
      if shard not in self._readers:
        self._readers[shard] = self._open(shard)
      return self._readers[shard].read(start, stop)
    except (RuntimeError, ValueError, OSError, IndexError) as error:
      raise InputError(f"{self._files[shard]} cannot be read: {error}. {REBUILD}") from error

  def _open(self, shard: int) -> array_record_module.ArrayRecordReader:
    reader = array_record_module.ArrayRecordReader(
      os.fspath(self._files[shard]),
      options="readahead_buffer_size:0",  # random access gains nothing from it
      file_reader_buffer_size=4096,
    )
    if reader.num_records() != self._starts[shard + 1] - self._starts[shard]:
      raise RuntimeError("its index is damaged")
    return reader


def open_examples(directory: os.PathLike, split: str) -> Examples:
  """Opens the split ("train" or "valid") of a set that `prepare` made.

  Raises:
    InputError: the directory holds no set, or the set is incomplete or damaged.
  """
  if split not in SPLITS:
    raise unknown("split", split, SPLITS)
  metadata = read_metadata(directory)
  check_file(Path(directory), metadata["tokenizer"]["file"], metadata)
  return Examples(directory, split, metadata)


def open_tokenizer(directory: os.PathLike) -> Tokenizer:
  """Loads the set's own copy of the tokenizer, and checks that it is the one that made the set."""
  metadata = read_metadata(directory)
  about = metadata["tokenizer"]
  path = check_file(Path(directory), about["file"], metadata)
  tokenizer = load_tokenizer(os.fspath(path), lowercase=about["lowercase"])
  if tokenizer.fingerprint != about["fingerprint"]:
    raise InputError(f"{path} is not the tokenizer that the examples beside it were made with. {REBUILD}")
  return tokenizer


def _check_size(file: Path, size: int) -> None:
  try:
    actual = file.stat().st_size
  except OSError as error:
    raise InputError(f"{file} is missing: {error.strerror}. {REBUILD}") from error
  if actual != size:
    raise InputError(f"{file} is damaged: it has {actual:,} bytes, not {size:,}. {REBUILD}")
