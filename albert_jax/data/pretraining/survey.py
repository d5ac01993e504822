"""Looks at a text before training: how much of it there is, and whether the losses have anything to learn from."""

import dataclasses

import numpy as np

from albert_jax.data.examples.reader import Examples
from albert_jax.data.pretraining.rows import PretrainingRows
from albert_jax.errors import InputError

SAMPLE = 256  # rows
MANY_UNKNOWN = 0.05  # of the tokens, where text and tokenizer hardly belong together


@dataclasses.dataclass(frozen=True)
class Survey:
  """Counts of a split.

  Attributes:
    examples: chunks of text.
    pairs: those that may have a label of the pair objective.
    sampled: the first rows of the first epoch.
    unpredicted: those of `sampled` without a prediction.
    unknown: share of [UNK] among the tokens of the training text.
  """

  examples: int
  pairs: int
  sampled: int
  unpredicted: int
  unknown: float

  def check(self, pair_objective: str) -> None:
    """Raises InputError where a loss would have no term."""
    if self.unpredicted == self.sampled:
      raise InputError(
        f"No token of the first {self.sampled} rows can be predicted, and {self.unknown:.0%} of the text is [UNK]: "
        "data.tokenizer does not fit data.source."
      )
    if pair_objective != "none" and not self.pairs:
      raise InputError(
        f"data.pair_objective={pair_objective}: none of the {self.examples:,} examples has two sentences to make a "
        "pair of. Set data.pair_objective=none, or raise data.max_length; data.layout=paragraphs looks for sentences "
        "inside a line."
      )

  def lines(self, pair_objective: str) -> list[str]:
    """What the user should know, a line each."""
    pairs = f", {self.pairs / self.examples:.1%} with a pair" if pair_objective != "none" else ""
    found = [f"text: {self.examples:,} examples to train on{pairs}, {self.unknown:.2%} of the tokens [UNK]"]
    if self.unpredicted:
      found.append(f"warning: {self.unpredicted} of the first {self.sampled} rows have no prediction")
    if self.unknown > MANY_UNKNOWN:
      found.append(f"warning: {self.unknown:.0%} of the tokens are [UNK]: does data.tokenizer fit data.source?")
    return found


def survey(examples: Examples, rows: PretrainingRows, unk_id: int) -> Survey:
  """Counts what a training split holds.

  Args:
    examples: of the split.
    rows: made of them.
    unk_id: the id of [UNK].
  """
  counts = examples.unigram_counts
  sampled = min(rows.num_rows, SAMPLE)
  weights_RM = rows.batch(0, sampled, 0, sampled)["mlm_weights"]
  return Survey(
    examples=len(examples),
    pairs=int(np.count_nonzero(rows.settings.is_paired(examples.sentences))),
    sampled=sampled,
    unpredicted=int(np.count_nonzero(~weights_RM.any(axis=1))),
    unknown=float(counts[unk_id] / max(counts.sum(), 1)),
  )
