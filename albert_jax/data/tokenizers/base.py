"""The interface of every tokenizer, its special pieces and its fingerprint."""

import abc
import hashlib
import unicodedata
from collections.abc import Sequence

import numpy as np

from albert_jax.errors import InputError

Span = tuple[int, int]  # characters first … last + 1 of a text


class Tokenizer(abc.ABC):
  """Text to ids and back; picklable, also to a machine that lacks the file.

  Attributes:
    kind: "sentencepiece" or "wordpiece".
    path: the file that it was loaded from.
    content: of a file that holds it; where a tokenizer.json was read, of one that was made of it.
    lowercase: whether text is lower-cased and stripped of accents before it is encoded.
    vocab_size: the number of ids.
    pad_id, unk_id, cls_id, sep_id, mask_id: the special pieces; `special_ids` is all five.
    word_starts: [V] bool, the pieces that begin a word (for whole-word masking).
    fingerprint: hex digest of the vocabulary and of the rules for normalising text.
  """

  kind: str
  special_pieces: tuple[str, ...]  # pad, unk, cls, sep, mask
  normalisation_version = 1  # raise it when the same text gets other ids

  def __init__(self, content: bytes, path: str, lowercase: bool | None):
    self.content = content
    self.path = path
    pieces = self._read_vocabulary()
    ids = {piece: i for i, piece in enumerate(pieces)}
    missing = [piece for piece in self.special_pieces if piece not in ids]
    if missing:
      raise InputError(
        f"{path}: the vocabulary lacks {', '.join(missing)}. A {self.kind} vocabulary needs the special "
        f"pieces {', '.join(self.special_pieces)}; scripts/train_tokenizer.py trains one that has them."
      )
    if lowercase is None:
      lowercase = not any(p != p.lower() for p in pieces if p not in self.special_pieces and p[0] != "[")
    self.vocab_size = len(pieces)
    self.lowercase = lowercase
    self.special_ids = tuple(ids[piece] for piece in self.special_pieces)
    self.pad_id, self.unk_id, self.cls_id, self.sep_id, self.mask_id = self.special_ids
    self.word_starts = np.array([self._starts_word(piece) for piece in pieces])
    rules = f"{self.kind} {self.normalisation_version} {lowercase} ".encode()
    self.fingerprint = hashlib.sha256(rules + content).hexdigest()
    self._pieces = pieces

  def __reduce__(self):
    return type(self), (self.content, self.path, self.lowercase)

  def check_fits(self, vocab_size: int, name: str) -> None:
    """Checks that a model has an embedding for every piece; ids beyond its table would be clamped without a word.

    Args:
      vocab_size: rows of the table.
      name: of that size, for the message.

    Raises:
      InputError: there are more pieces.
    """
    if self.vocab_size > vocab_size:
      raise InputError(
        f"The tokenizer {self.path} has {self.vocab_size} pieces, but {name} is {vocab_size}: take the tokenizer that "
        "the model was trained with, or give a new model that size."
      )

  def encode(self, text: str, *, allow_special: bool = False) -> list[int]:
    """The ids of a text, without [CLS] and [SEP].

    Text such as "[MASK]" is spelled out like any other, because a corpus that mentions it must not forge
    special ids; with `allow_special` it is the special piece (for fill-mask prompts).
    """
    if allow_special:
      return self._encode_special(text)
    return self.encode_batch([text])[0]

  @abc.abstractmethod
  def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
    """The ids of each text, without [CLS] and [SEP]; uses one core."""

  def encode_with_offsets(self, text: str) -> tuple[list[int], list[Span]]:
    """The ids of a text, as `encode` gives them, and the characters of `text` that each stands for.

    Spans are in the order of the text. They leave out white space and what normalising drops at their ends, but not the
    marks of a character ("é" written as two). Ids that share a character ("½" is 1, ⁄, 2) all have its span; a piece
    that is only a space has an empty one.
    """
    ids, spans = self._encode_with_offsets(text)
    return ids, spans if text.isascii() else _with_marks(text, spans)

  @abc.abstractmethod
  def decode(self, ids: Sequence[int]) -> str:
    """Readable text (normalised, as the model saw it); special pieces stay visible."""

  def pieces(self, ids: Sequence[int]) -> list[str]:
    """The piece of each id."""
    return [self._pieces[i] for i in ids]

  @abc.abstractmethod
  def _read_vocabulary(self) -> list[str]:
    """Reads `content` and returns the piece of each id; InputError if it is damaged."""

  @abc.abstractmethod
  def _starts_word(self, piece: str) -> bool:
    """Whether a piece begins a word; special pieces do."""

  @abc.abstractmethod
  def _encode_with_offsets(self, text: str) -> tuple[list[int], list[Span]]:
    """As `encode_with_offsets`; marks may be left out."""

  @abc.abstractmethod
  def _encode_special(self, text: str) -> list[int]:
    """Encodes with the names of special pieces taken as those pieces."""


def _with_marks(text: str, spans: list[Span]) -> list[Span]:
  """Extends spans over the combining marks that follow them."""
  extended = []
  for (start, end), (limit, _) in zip(spans, [*spans[1:], (len(text), 0)]):
    while start < end < limit and unicodedata.category(unicodedata.normalize("NFKD", text[end])[0]).startswith("M"):
      end += 1
    extended.append((start, end))
  return extended
