"""Documents of text to the examples that are stored."""

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from albert_jax.data.examples.chunks import ExampleSettings, document_chunks, stable_hash
from albert_jax.data.text.base import Source
from albert_jax.data.text.sentences import document_sentences
from albert_jax.data.tokenizers.registry import Tokenizer
from albert_jax.errors import InputError

Document = tuple[str, str]  # key, text
CHARACTERS_AT_ONCE = 1 << 20  # that go through the tokenizer


@dataclasses.dataclass(frozen=True)
class DocumentEncoder:
  """Turns documents into examples; picklable, and a pure function of each document.

  Attributes:
    layout: "sentences" or "paragraphs": what a line of text holds.
    valid_below: documents whose hash is smaller are held out.
  """

  tokenizer: Tokenizer
  settings: ExampleSettings
  layout: str
  valid_below: int

  @property
  def token_dtype(self) -> np.dtype:
    """The smallest unsigned integer that holds every id."""
    return np.min_scalar_type(self.tokenizer.vocab_size - 1)

  @property
  def length_dtype(self) -> np.dtype:
    """The smallest unsigned integer that holds every sentence length."""
    return np.min_scalar_type(self.settings.chunk_length)

  def split(self, key: str) -> str:
    """The split that a document belongs to."""
    return "valid" if split_hash(key, self.settings) < self.valid_below else "train"

  def encode(self, documents: Sequence[Document]) -> Iterator[tuple[str, list[dict]]]:
    """Yields (split, examples) of each document; together they go through the tokenizer faster."""
    sentences = [document_sentences(text, self.layout) for _, text in documents]
    ids = self._encode(itertools.chain.from_iterable(sentences))
    for (key, _), lines in zip(documents, sentences):
      yield self.split(key), self._examples(key, list(itertools.islice(ids, len(lines))))

  def _encode(self, sentences: Iterable[str]) -> Iterator[np.ndarray]:
    """Yields the ids of each sentence, a few sentences at a time: a list of ids takes ten times an array's memory."""
    batch, size = [], 0
    for sentence in itertools.chain(sentences, [None]):
      if batch and (sentence is None or size + len(sentence) > CHARACTERS_AT_ONCE):
        for ids in self.tokenizer.encode_batch(batch):
          yield np.array(ids, self.token_dtype)
        batch, size = [], 0
      if sentence is not None:
        batch.append(sentence)
        size += len(sentence)

  def _examples(self, key: str, sentence_ids: list[np.ndarray]) -> list[dict]:
    tokens = np.concatenate([np.empty(0, self.token_dtype), *sentence_ids])
    document = np.array(stable_hash(key), np.uint64)
    examples, start = [], 0
    for chunk in document_chunks([len(ids) for ids in sentence_ids], key, self.settings):
      stop = start + sum(chunk)
      lengths = np.array(chunk, self.length_dtype)
      examples.append(dict(tokens=tokens[start:stop], sentence_lengths=lengths, document=document))
      start = stop
    return examples


def split_hash(key: str, settings: ExampleSettings) -> int:
  """The number that decides whether a document is held out: it is where this lies below `valid_below`."""
  return stable_hash("split", settings.seed, key)


def valid_threshold(source: Source, settings: ExampleSettings) -> int:
  """Finds the hash below which documents are held out, such that neither split is empty.

  Reads documents until it has met one of each split, and frees the source's head. Only a tiny corpus is read to its
  end; there the document with the extreme hash changes sides.
  """
  threshold = int(settings.valid_fraction * 2**64)
  lowest, highest = 2**64, -1
  for key, text in source.head.use_up():
    if not text.strip():
      continue
    value = split_hash(key, settings)
    lowest, highest = min(lowest, value), max(highest, value)
    if lowest < threshold <= highest:
      return threshold
  if lowest >= highest:
    held = "no document" if highest < 0 else "one document"
    raise InputError(
      f"Source {source.spec!r} holds {held}: at least two are needed, one to train on and one to hold "
      "out. In a .txt file an empty line ends a document."
    )
  return lowest + 1 if lowest >= threshold else highest
