"""What a batch is made with: the vocabulary's ids, the settings and the shapes of its fields."""

import dataclasses
import functools
import math

import numpy as np

from albert_jax.errors import InputError, unknown

PAIR_OBJECTIVES = ("sop", "nsp", "none")
MAX_ROW_LENGTH = 2**16


@dataclasses.dataclass(frozen=True, eq=False)
class Vocabulary:
  """The part of a tokenizer that batches need; `word_starts` is bool [V]."""

  size: int
  pad_id: int
  cls_id: int
  sep_id: int
  mask_id: int
  special_ids: tuple[int, ...]
  word_starts: np.ndarray

  def __post_init__(self):
    if len(self.word_starts) != self.size:
      raise InputError(f"word_starts has {len(self.word_starts)} entries, the vocabulary {self.size}")
    inserted = {self.pad_id, self.cls_id, self.sep_id, self.mask_id}
    if len(inserted) < 4 or not inserted <= set(self.special_ids):
      raise InputError(
        "padding, [CLS], [SEP] and [MASK] need four different ids among the special ids"
        f" {self.special_ids}, not {sorted(inserted)}"
      )
    if not all(0 <= i < self.size for i in self.special_ids):
      raise InputError(f"special ids {self.special_ids} lie outside [0, {self.size})")

  @classmethod
  def of(cls, tokenizer) -> "Vocabulary":
    """Takes what batches need from a `Tokenizer`."""
    return cls(
      size=tokenizer.vocab_size,
      pad_id=tokenizer.pad_id,
      cls_id=tokenizer.cls_id,
      sep_id=tokenizer.sep_id,
      mask_id=tokenizer.mask_id,
      special_ids=tuple(tokenizer.special_ids),
      word_starts=np.asarray(tokenizer.word_starts, bool),
    )

  @functools.cached_property
  def is_special(self) -> np.ndarray:
    """Bool [V]: the ids that are never predicted."""
    special = np.zeros(self.size, bool)
    special[list(self.special_ids)] = True
    return special


@dataclasses.dataclass(frozen=True)
class BatchSettings:
  """How examples become rows.

  Attributes:
    max_length: tokens in a row, T, special tokens included.
    mask_rate: share of an example's tokens, special tokens counted, that are predicted.
    max_predictions: predictions in one example at most; 0 = round(mask_rate * max_length).
    max_ngram: masks come in runs of n whole words with p(n) ∝ 1/n, 1 <= n <= max_ngram (ALBERT, section 4.1).
    whole_word: whether a run is made of words or of tokens.
    pair_objective: `sop` (are A and B in order?), `nsp` (does B follow A?) or `none` (one segment).
    packing: examples in one row at most, N.
    seed: of the epochs' orders, the splits and the masks.
    single_sentence_random_pair: quirk of google-research/albert: an example of one sentence is paired with text
      of another document and labelled 1, which leaks NSP into SOP. Off: it has no pair label.
    ngrams_straddle_segments: quirk of the same code: a run may go over the [SEP] between A and B.
    random_specials: quirk of the same code: random replacements may be special tokens.
    mask_prob, random_prob: a predicted token becomes [MASK], a random token, or stays as it is.
  """

  max_length: int = 512
  mask_rate: float = 0.15
  max_predictions: int = 0
  max_ngram: int = 3
  whole_word: bool = True
  pair_objective: str = "sop"
  packing: int = 1
  seed: int = 0
  single_sentence_random_pair: bool = False
  ngrams_straddle_segments: bool = False
  random_specials: bool = False
  mask_prob: float = 0.8
  random_prob: float = 0.1

  def __post_init__(self):
    if self.pair_objective not in PAIR_OBJECTIVES:
      raise unknown("pair objective", self.pair_objective, PAIR_OBJECTIVES)
    shortest = self.special_tokens + (1 if self.pair_objective == "none" else 2)
    for key, good, want in (
      ("max_length", shortest <= self.max_length <= MAX_ROW_LENGTH, f"{shortest} to {MAX_ROW_LENGTH}"),
      ("mask_rate", 0 < self.mask_rate < 1, "between 0 and 1, both excluded"),
      ("max_predictions", 0 <= self.max_predictions <= self.max_length, "0 to max_length"),
      ("max_ngram", 1 <= self.max_ngram <= self.max_length, "1 to max_length"),
      ("packing", 1 <= self.packing <= self.max_length, "1 to max_length"),
      ("seed", 0 <= self.seed < 2**64, "0 to 2**64 - 1"),
      ("mask_prob", 0 <= self.mask_prob <= 1, "between 0 and 1"),
      ("random_prob", 0 <= self.random_prob <= 1 - self.mask_prob, "between 0 and 1 - mask_prob"),
    ):
      if not good:
        raise InputError(f"{key}={getattr(self, key)} must be {want} (max_length={self.max_length})")

  @property
  def special_tokens(self) -> int:
    """Special tokens that a whole example takes: [CLS] A [SEP] B [SEP], or [CLS] A [SEP]."""
    return 2 if self.pair_objective == "none" else 3

  def is_paired(self, sentences: np.ndarray) -> np.ndarray:
    """Whether examples with these numbers of sentences are split into A and B; bool of the same shape."""
    return (self.pair_objective != "none") & ((sentences > 1) | self.single_sentence_random_pair)

  def planned_lengths(self, tokens: np.ndarray, sentences: np.ndarray) -> np.ndarray:
    """Places in a row for examples with these numbers of tokens and sentences, special tokens included; same shape."""
    return np.minimum(tokens + 2 + self.is_paired(sentences), self.max_length)

  @property
  def example_predictions(self) -> int:
    """Predictions in one example at most."""
    return self.max_predictions or max(1, round(self.mask_rate * self.max_length))

  @property
  def row_predictions(self) -> int:
    """Predictions in one row at most, M.

    An example of length n has at most mask_rate * n + 1/2 predictions, or 1 where it is short; n is at least 3.
    """
    if self.packing == 1:
      return self.example_predictions
    rounding = max(0.5, 1 - 3 * self.mask_rate)
    by_length = math.floor(self.mask_rate * self.max_length + self.packing * rounding)
    return min(self.packing * self.example_predictions, by_length)

  def shapes(self, rows: int) -> dict[str, tuple[tuple[int, int], type]]:
    """Shape and dtype of each field of a batch of `rows` rows."""
    by_token = ((rows, self.max_length), np.int32)
    by_prediction = (rows, self.row_predictions)
    by_example = (rows, self.packing)
    return {
      "tokens": by_token,
      "token_type_ids": by_token,
      "example_ids": by_token,
      "positions": by_token,
      "mlm_positions": (by_prediction, np.int32),
      "mlm_labels": (by_prediction, np.int32),
      "mlm_weights": (by_prediction, np.float32),
      "cls_positions": (by_example, np.int32),
      "pair_labels": (by_example, np.int32),
      "pair_weights": (by_example, np.float32),
    }
