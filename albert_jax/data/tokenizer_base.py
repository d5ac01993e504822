"""What every tokenizer is: the interface, the special pieces and the fingerprint."""

import abc
import hashlib
from collections.abc import Sequence

import numpy as np

from albert_jax.errors import InputError


class Tokenizer(abc.ABC):
  """Text to ids and back; picklable, also to a machine that lacks the file.

  Attributes:
    kind: "sentencepiece" or "wordpiece".
    path: the file that it was loaded from.
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
    self._content = content
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
    return type(self), (self._content, self.path, self.lowercase)

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

  @abc.abstractmethod
  def decode(self, ids: Sequence[int]) -> str:
    """Readable text (normalised, as the model saw it); special pieces stay visible."""

  def pieces(self, ids: Sequence[int]) -> list[str]:
    """The piece of each id."""
    return [self._pieces[i] for i in ids]

  @abc.abstractmethod
  def _read_vocabulary(self) -> list[str]:
    """Reads `_content` and returns the piece of each id; InputError if it is damaged."""

  @abc.abstractmethod
  def _starts_word(self, piece: str) -> bool:
    """Whether a piece begins a word; special pieces do."""

  @abc.abstractmethod
  def _encode_special(self, text: str) -> list[int]:
    """Encodes with the names of special pieces taken as those pieces."""
