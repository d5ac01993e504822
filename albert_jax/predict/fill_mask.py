"""Texts with masks to be filled."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from albert_jax.data.finetuning.encode import Sequences
from albert_jax.data.tokenizers.base import Tokenizer
from albert_jax.errors import InputError
from albert_jax.predict.inference import Results, power_of_two
from albert_jax.predict.results import Filling

# What marks a piece that begins a word (SentencePiece), or one that continues one (WordPiece).
_BEGINS, _CONTINUES = "▁", "##"


@dataclasses.dataclass(frozen=True)
class MaskedTexts:
  """X texts with at least one mask each.

  Attributes:
    texts: as they were given.
    sequences: [CLS] text [SEP].
    positions_XM: int32, where in a row the masks are, filled up with zeros; M is a power of two.
    counts: masks in each text.
  """

  texts: Sequence[str]
  sequences: Sequences
  positions_XM: np.ndarray
  counts: list[int]


def encode_masked(texts: Sequence[str], tokenizer: Tokenizer, max_length: int) -> MaskedTexts:
  """Encodes texts, in which the names of special pieces stand for those pieces; what is too long is cut.

  Raises:
    InputError: a text has no mask, or one where it would be cut off.
  """
  (mask,) = tokenizer.pieces([tokenizer.mask_id])
  encoded, places = [], []
  for text in texts:
    ids = np.array(tokenizer.encode(text, allow_special=True), np.int32)
    masks = np.flatnonzero(ids == tokenizer.mask_id) + 1
    if not len(masks):
      raise InputError(f"There is no {mask} in {text[:80]!r}: write it where a word is to be found.")
    if masks[-1] > max_length - 2:
      raise InputError(
        f"The text has {len(ids) + 2} tokens, the model reads {max_length}, and a {mask} is beyond: {text[:80]!r}. "
        "Shorten the text."
      )
    encoded.append(ids[: max_length - 2])
    places.append(masks)
  sizes = np.array([len(ids) for ids in encoded], np.int64)
  starts = np.cumsum(sizes) - sizes
  no_second = ((0, 0), (0, 1))
  sequences = Sequences(
    np.concatenate([*encoded, np.zeros(0, np.int32)]),
    np.pad(starts[:, None], no_second),
    np.pad(sizes[:, None], no_second),
    paired=False,
  )
  counts = [len(masks) for masks in places]
  positions_XM = np.zeros((len(texts), power_of_two(max(counts, default=1))), np.int32)
  for row, masks in zip(positions_XM, places):
    row[: len(masks)] = masks
  return MaskedTexts(texts, sequences, positions_XM, counts)


def read_fillings(masked: MaskedTexts, results: Results, tokenizer: Tokenizer) -> list[list[list[Filling]]]:
  """The fillings of every mask of every text, the likeliest first.

  Args:
    masked: X texts.
    results: (probabilities_MN, ids_MN) of each.
    tokenizer: of the ids.
  """
  (mask,) = tokenizer.pieces([tokenizer.mask_id])
  return [
    [
      [
        _filling(text, mask, number, float(p), int(i), tokenizer)
        for p, i in zip(probabilities_MN[number], ids_MN[number])
      ]
      for number in range(count)
    ]
    for text, count, (probabilities_MN, ids_MN) in zip(masked.texts, masked.counts, results)
  ]


def _filling(text: str, mask: str, number: int, probability: float, token: int, tokenizer: Tokenizer) -> Filling:
  piece = tokenizer.pieces([token])[0]
  if tokenizer.kind == "wordpiece":
    word, continues = piece.removeprefix(_CONTINUES), piece.startswith(_CONTINUES)
  else:
    word, continues = piece.removeprefix(_BEGINS), not piece.startswith(_BEGINS)
  parts = text.split(mask)
  before, after = mask.join(parts[: number + 1]), mask.join(parts[number + 1 :])
  return Filling(word, probability, f"{before.rstrip() if continues else before}{word}{after}", token)
