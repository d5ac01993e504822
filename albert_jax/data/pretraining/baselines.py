"""Baselines: what rules without any knowledge of language reach on the predictions of an evaluation."""

import numpy as np

from albert_jax.data.loader import Batch
from albert_jax.data.pretraining.rows import PretrainingRows
from albert_jax.data.tokenizers.base import Tokenizer

FINAL = frozenset(".!?…:;。！？।۔؟\"'”’»)]")  # what sentences end in
_CELLS = 2 * 2 * 3 * 2


class SurfaceRule:
  """Guesses a pair's label from four marks on its surface.

  They are whether A ends in punctuation, whether B does, which of them is longer, and whether the pair fills its row.
  The guess is the commoner label of the training pairs with the same marks. Where sentences are cut to fit rows, this
  alone may tell the order of A and B.
  """

  def __init__(self, batch: Batch, tokenizer: Tokenizer):
    """Counts the pairs of a batch of training rows."""
    pieces = tokenizer.pieces(range(tokenizer.vocab_size))
    self._is_final_V = np.array([piece[-1] in FINAL for piece in pieces])
    labels = np.zeros((_CELLS, 2))
    used = batch["pair_weights"] > 0
    np.add.at(labels, (self._cells(batch)[used], batch["pair_labels"][used]), 1)
    self._guess_C = labels.argmax(axis=1)

  def is_right(self, batch: Batch) -> np.ndarray:
    """Float32 [B, N]: 1 where the guess is the pair's label."""
    return (self._guess_C[self._cells(batch)] == batch["pair_labels"]).astype(np.float32)

  def _cells(self, batch: Batch) -> np.ndarray:
    """The marks of each example as one number, [B, N]; meaningless where there is no pair."""
    tokens_BT = batch["tokens"].copy()
    row, slot = np.nonzero(batch["mlm_weights"])
    tokens_BT[row, batch["mlm_positions"][row, slot]] = batch["mlm_labels"][row, slot]
    rows, slots = batch["pair_labels"].shape
    begin_BN, example_ids_BT = batch["cls_positions"], batch["example_ids"]
    place_BT = (np.arange(rows)[:, None] * (slots + 1) + example_ids_BT) * 2 + batch["token_type_ids"]
    counts_BN2 = np.bincount(place_BT.ravel(), minlength=rows * (slots + 1) * 2).reshape(rows, slots + 1, 2)[:, 1:]
    size_a, size_b = counts_BN2[..., 0], counts_BN2[..., 1]  # [CLS] A [SEP], B [SEP]
    row_length = tokens_BT.shape[1]

    def ends_well(last_BN: np.ndarray) -> np.ndarray:
      return self._is_final_V[np.take_along_axis(tokens_BT, np.clip(last_BN, 0, row_length - 1), axis=1)]

    marks = ends_well(begin_BN + size_a - 2).astype(np.int64)
    marks = marks * 2 + ends_well(begin_BN + size_a + size_b - 2)
    marks = marks * 3 + np.sign(size_a - 2 - (size_b - 1)) + 1
    return marks * 2 + (size_a + size_b == row_length)


class WithBaselines:
  """Evaluation rows with what the baselines say of them.

  Two more fields: `unigram_nll` [B, M], −log of each label's frequency in the training text (plus one), and
  `pair_surface_right` [B, N], whether the surface rule gives the pair's label.
  """

  def __init__(self, rows: PretrainingRows, unigram_counts: np.ndarray, surface: SurfaceRule | None):
    self._rows, self.num_rows, self._surface = rows, rows.num_rows, surface
    counts = unigram_counts + 1.0
    self._nll_V = -np.log(counts / counts.sum()).astype(np.float32)

  def batch(self, number: int, size: int, first: int, last: int) -> Batch:
    """As `PretrainingRows.batch`."""
    batch = self._rows.batch(number, size, first, last)
    more = {"unigram_nll": self._nll_V[batch["mlm_labels"]]}
    if self._surface is not None:
      more["pair_surface_right"] = self._surface.is_right(batch)
    return batch | more
