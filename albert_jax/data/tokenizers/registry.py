"""Tokenizers: SentencePiece (ALBERT) and WordPiece (BERT), loaded from a file or trained from a source."""

import os
import re
from collections.abc import Iterable, Iterator

from albert_jax.data.text.base import Source, digest
from albert_jax.data.text.sentences import document_sentences
from albert_jax.data.tokenizers.base import Tokenizer
from albert_jax.data.tokenizers.hf_folder import DEFINITION, load_folder
from albert_jax.data.tokenizers.sentencepiece import SentencePieceTokenizer, train_sentencepiece
from albert_jax.data.tokenizers.wordpiece import WordPieceTokenizer, train_wordpiece
from albert_jax.errors import InputError, unknown
from albert_jax.files import new_file, read_bytes
from albert_jax.messages import say

TRAINING_VERSION = 1  # raise it when the same text gives another vocabulary
CHARACTERS_PER_PIECE = 1000  # of training text; more hardly changes the pieces and costs time

_CLASSES = {".model": SentencePieceTokenizer, ".txt": WordPieceTokenizer}
_TRAINERS = {"sentencepiece": (".model", train_sentencepiece), "wordpiece": (".txt", train_wordpiece)}


def load_tokenizer(path: str, *, lowercase: bool | None = None) -> Tokenizer:
  """Loads a SentencePiece model (.model), a WordPiece vocabulary (.txt) or a folder in Hugging Face's layout.

  `lowercase` None takes what a folder's settings say, or looks at the vocabulary: one without a capital letter is an
  uncased one.
  """
  path = os.fspath(path)
  if os.path.isdir(path) or os.path.basename(path) == DEFINITION:
    return load_folder(path, lowercase=lowercase)
  make = _CLASSES.get(os.path.splitext(path)[1])
  if make is None:
    raise InputError(
      f"{path!r} is no tokenizer. Give a SentencePiece model (.model), a WordPiece vocabulary (.txt), a folder with "
      "one in Hugging Face's layout, or how to train one, as in train:sentencepiece:4096."
    )
  return make(read_bytes(path, hint="Check the path of the tokenizer."), path, lowercase)


def train_tokenizer(
  kind: str, texts: Iterable[str], vocab_size: int, path: str, *, lowercase: bool = True
) -> Tokenizer:
  """Trains a vocabulary of exactly `vocab_size` pieces and writes it to `path`, whole or not at all.

  Args:
    kind: "sentencepiece" or "wordpiece".
    texts: documents, a paragraph or a sentence a line; all of them are held in memory.
    vocab_size: the number of pieces, the five special ones included.
    path: ends in .model (SentencePiece) or .txt (WordPiece).
    lowercase: lower-case the text and strip its accents.

  Raises:
    InputError: the text is too small for the size (the message says the largest possible one).
  """
  suffix, train = _trainer(kind)
  path = os.fspath(path)
  if not path.endswith(suffix):
    raise InputError(f"{path!r} should end in {suffix}: that is how a {kind} vocabulary is recognised.")
  lines = (line for text in texts for line in document_sentences(text, "paragraphs"))
  content = train(lines, vocab_size, lowercase=lowercase)
  with new_file(path) as temporary:
    temporary.write_bytes(content)
  return load_tokenizer(path, lowercase=lowercase)


def resolve_tokenizer(spec: str, source: Source, cache_dir: str) -> Tokenizer:
  """Loads the tokenizer that `spec` names: a file, or `train:KIND:SIZE` to train one on the source.

  A trained one is kept in `cache_dir`, once for each (text, kind, size, version of the training).
  """
  if not spec.startswith("train:"):
    return load_tokenizer(spec)
  match = re.fullmatch(r"train:(\w+):(\d+)", spec)
  if not match:
    raise InputError(f"Tokenizer {spec!r}: the form is train:KIND:SIZE, as in train:sentencepiece:4096.")
  kind, size = match[1], int(match[2])
  suffix, _ = _trainer(kind)
  key = digest(source.fingerprint, kind, size, TRAINING_VERSION)[:16]
  path = os.path.join(cache_dir, f"{kind}-{size}-{key}{suffix}")
  if os.path.exists(path):
    return load_tokenizer(path, lowercase=True)
  say(f"training a {kind} vocabulary of {size:,} pieces on {source.spec}")
  return train_tokenizer(kind, sample_texts(source, size * CHARACTERS_PER_PIECE), size, path)


def sample_texts(source: Source, characters: int) -> Iterator[str]:
  """Yields the first documents of every shard, about `characters` in all; what a shard leaves goes to the next.

  Raises:
    InputError: the text changed meanwhile.
  """
  for index, shard in enumerate(source.shards):
    share = characters // (len(source.shards) - index)
    for _, text in source.head.read(shard):
      yield text
      share -= len(text)
      characters -= len(text)
      if share <= 0:
        break
    if characters <= 0:
      break
  source.check_unchanged()


def _trainer(kind: str):
  if kind not in _TRAINERS:
    raise unknown("kind of tokenizer", kind, _TRAINERS)
  return _TRAINERS[kind]
