"""Texts and pairs of texts as token sequences, [CLS] A [SEP] or [CLS] A [SEP] B [SEP] (arXiv 1810.04805, §3)."""

import dataclasses
import hashlib
import itertools
from collections.abc import Sequence

import numpy as np

from albert_jax.data.tokenizers.base import Tokenizer
from albert_jax.errors import InputError

TEXTS_PER_CALL = 4096  # bounds the memory of ids held as Python numbers


@dataclasses.dataclass(frozen=True)
class Sequences:
  """X sequences of one or two segments, each a slice of one flat array.

  A passage that many questions share is there once, and a window of a document is a slice of it.

  Attributes:
    tokens: int32 [n], ids without [CLS] and [SEP].
    starts_X2, sizes_X2: int64, segments A and B as slices of `tokens`.
    paired: whether there is a segment B; where not, its size is 0.
  """

  tokens: np.ndarray
  starts_X2: np.ndarray
  sizes_X2: np.ndarray
  paired: bool

  def __len__(self):
    return len(self.starts_X2)

  @property
  def special_tokens(self) -> int:
    """[CLS] and [SEP] in a sequence."""
    return 3 if self.paired else 2

  @property
  def lengths(self) -> np.ndarray:
    """[X], [CLS] and [SEP] included."""
    return self.sizes_X2.sum(axis=1) + self.special_tokens

  @property
  def fingerprint(self) -> str:
    """Hex digest of the tokens and of where each sequence lies."""
    content = hashlib.sha256()
    for array in (self.tokens, self.starts_X2, self.sizes_X2):
      content.update(array.tobytes())
    return content.hexdigest()


def encode_texts(tokenizer: Tokenizer, texts: list[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Flat ids [n], int32, and each text's start and size in them."""
  parts, sizes = [np.zeros(0, np.int32)], []
  for first in range(0, len(texts), TEXTS_PER_CALL):
    encoded = tokenizer.encode_batch(texts[first : first + TEXTS_PER_CALL])
    sizes += map(len, encoded)
    parts.append(np.fromiter(itertools.chain.from_iterable(encoded), np.int32))
  sizes = np.array(sizes, np.int64)
  return np.concatenate(parts), np.cumsum(sizes) - sizes, sizes


def encode_sequences(tokenizer: Tokenizer, first: Sequence[str], second: Sequence[str] | None) -> Sequences:
  """Encodes one text or two for each sequence; equal texts are encoded once.

  Args:
    tokenizer: gives the ids.
    first: segments A.
    second: segments B, or None.
  """
  columns = [first] if second is None else [first, second]
  number = {text: i for i, text in enumerate(dict.fromkeys(itertools.chain(*columns)))}
  tokens, starts, sizes = encode_texts(tokenizer, list(number))
  index_XS = np.array([[number[text] for text in column] for column in columns], np.int64).T
  missing = ((0, 0), (0, 2 - len(columns)))
  return Sequences(tokens, np.pad(starts[index_XS], missing), np.pad(sizes[index_XS], missing), len(columns) == 2)


def truncate_longest(sequences: Sequences, max_length: int) -> Sequences:
  """Takes tokens one by one from the end of the longer segment, of B where they are equal, until a sequence fits."""
  room = max_length - sequences.special_tokens
  a, b = sequences.sizes_X2.T
  kept_a = np.minimum(a, np.maximum(room - b, room - room // 2 if sequences.paired else room))
  kept_b = np.minimum(b, room - kept_a)
  return dataclasses.replace(sequences, sizes_X2=np.stack([kept_a, kept_b], axis=1))


def truncate_first(sequences: Sequences, max_length: int, max_second: int) -> Sequences:
  """Shortens the front of B to its last `max_second` tokens, then takes from the end of A until a sequence fits."""
  room = max_length - sequences.special_tokens
  a, b = sequences.sizes_X2.T
  kept_b = np.minimum(b, min(max_second, room))
  kept_a = np.minimum(a, room - kept_b)
  starts_X2 = sequences.starts_X2 + np.stack([np.zeros_like(b), b - kept_b], axis=1)
  return dataclasses.replace(sequences, starts_X2=starts_X2, sizes_X2=np.stack([kept_a, kept_b], axis=1))


def check_token_types(paired: bool, token_types: int, model: str) -> None:
  """Raises InputError where pairs of segments meet a model that knows one token type, whose table has no second row."""
  if paired and token_types < 2:
    raise InputError(f"{model} has one token type (type_vocab_size, model.token_types): it cannot take pairs of texts.")
