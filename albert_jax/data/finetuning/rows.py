"""Rows of labelled tasks, one example each: a batch is a pure function of (settings, seed, number)."""

import dataclasses
import hashlib
from collections.abc import Mapping

import numpy as np

from albert_jax.data.finetuning.encode import Sequences
from albert_jax.data.random import Stream, draw_bits, permute
from albert_jax.data.text.base import digest
from albert_jax.data.tokenizers.base import Tokenizer
from albert_jax.errors import InputError

Batch = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class RowSettings:
  """How sequences become rows.

  Attributes:
    max_length: positions of a row at most, T.
    length_multiple: a batch is as long as its longest example, rounded up to a multiple of this: each length is
      compiled for once.
    length_pool: training batches hold examples of about equal length, sorted in pools of this many batches; 0 = off.
    seed: of the order.
  """

  max_length: int
  length_multiple: int = 8
  length_pool: int = 0
  seed: int = 0

  def __post_init__(self):
    for name, least in (("max_length", 8), ("length_multiple", 1), ("length_pool", 0)):
      if getattr(self, name) < least:
        raise InputError(f"data.{name} must be at least {least}, not {getattr(self, name)}.")


class LabelledRows:
  """Examples with their labels, at random access.

  Attributes:
    num_rows: examples, which is also the number of rows in one epoch.
    settings: the settings they are made with.
  """

  def __init__(
    self,
    sequences: Sequences,
    fields: Mapping[str, np.ndarray],
    tokenizer: Tokenizer,
    settings: RowSettings,
    *,
    shuffle: bool,
    choices: int | None = None,
  ):
    """Plans the rows.

    Args:
      sequences: no longer than `settings.max_length`.
      fields: more fields of a batch, a value an example: labels.
      tokenizer: gives the special ids.
      settings: how sequences become rows.
      shuffle: training: rows go on for ever, each epoch in a new order. Otherwise, for evaluation, rows are in the
        order of the file and those from `num_rows` on are empty.
      choices: an example is this many sequences in a row, and fields of tokens are [B, C, T].
    """
    self._sequences, self._fields, self._choices = sequences, dict(fields), choices
    self._tokens = np.append(sequences.tokens, np.int32(0))  # a place to read from where every text is empty
    self._special_ids = tokenizer.pad_id, tokenizer.cls_id, tokenizer.sep_id
    self.settings, self._shuffle = settings, shuffle
    self._lengths = sequences.lengths.reshape(-1, choices or 1).max(axis=1)
    self.num_rows = len(self._lengths)
    if not self.num_rows:
      raise InputError("There are no examples to make rows of.")
    self._orders: dict[tuple[int, int], np.ndarray] = {}

  @property
  def fingerprint(self) -> str:
    """Hex digest of the sequences and fields."""
    fields = [(name, hashlib.sha256(values.tobytes()).hexdigest()) for name, values in self._fields.items()]
    return digest(self._sequences.fingerprint, fields)

  def batch(self, number: int, size: int, first: int = 0, last: int | None = None) -> Batch:
    """Makes a part of a batch.

    Args:
      number: which batch. An epoch is ceil(num_rows / size) batches, over which its examples are spread evenly.
      size: rows in the whole batch.
      first: of the rows that are made.
      last: the row after them; all by default.

    Returns:
      tokens, types, examples and positions, int32 [rows, T] or [rows, C, T], where T depends on the whole batch; the
      fields, and weights [rows] float32: 0 in the empty rows at its end.
    """
    chosen = self._find(number, size)
    length = self._row_length(chosen)
    last = size if last is None else last
    index = np.full(last - first, -1)
    part = chosen[first:last]
    index[: len(part)] = part
    batch = self._place(index, length)
    for name, values in self._fields.items():
      batch[name] = np.where(index >= 0, values[index], values.dtype.type(0))
    batch["weights"] = (index >= 0).astype(np.float32)
    return batch

  def _row_length(self, chosen: np.ndarray) -> int:
    multiple = self.settings.length_multiple
    longest = max(1, self._lengths[chosen].max(initial=0))
    return int(min(-(-longest // multiple) * multiple, self.settings.max_length))

  def _find(self, number: int, size: int) -> np.ndarray:
    """Numbers of the examples in a batch, at most `size`."""
    if not self._shuffle:
      return np.arange(number * size, min((number + 1) * size, self.num_rows))
    batches = -(-self.num_rows // size)
    epoch, place = divmod(number, batches)
    if self.settings.length_pool:  # else neighbours have nothing in common
      key = draw_bits(self.settings.seed, Stream.EPOCH, epoch, 1, 2)[:, 1]
      place = int(permute(np.array([place]), np.array([batches]), key)[0])
    order = self._order(epoch, size)
    return order[place * self.num_rows // batches : (place + 1) * self.num_rows // batches]

  def _order(self, epoch: int, size: int) -> np.ndarray:
    """The epoch's examples in the order that is cut into batches; the last two epochs are kept."""
    orders = self._orders
    if (epoch, size) not in orders:
      # Replaced at one stroke, because several threads make batches.
      self._orders = orders = {**dict([*orders.items()][-1:]), (epoch, size): self._make_order(epoch, size)}
    return orders[epoch, size]

  def _make_order(self, epoch: int, size: int) -> np.ndarray:
    rows = self.num_rows
    key = draw_bits(self.settings.seed, Stream.EPOCH, epoch, 1, 2)[0, 0]
    order = permute(np.arange(rows), np.full(rows, rows), np.full(rows, key))
    if not self.settings.length_pool:
      return order
    batches = -(-rows // size)
    batch = (np.arange(rows) * batches + batches - 1) // rows  # the inverse of `_find`'s bounds
    return order[np.lexsort((self._lengths[order], batch // self.settings.length_pool))]

  def _place(self, index: np.ndarray, length: int) -> Batch:
    """The fields [rows, T] or [rows, C, T] of the examples `index`; -1 is an empty row."""
    pad_id, cls_id, sep_id = self._special_ids
    choices = self._choices or 1
    index_R = (index[:, None] * choices + np.arange(choices)).ravel()
    filled_R = np.repeat(index >= 0, choices)
    starts_2R1, sizes_2R1 = (
      np.where(filled_R, array_X2[index_R].T, 0)[:, :, None]
      for array_X2 in (self._sequences.starts_X2, self._sequences.sizes_X2)
    )
    (start_a, start_b), (size_a, size_b) = starts_2R1, sizes_2R1
    stop = np.where(filled_R[:, None], size_a + size_b + self._sequences.special_tokens, 0)
    t = np.arange(length)
    inside_RT = t < stop
    source_RT = np.where(t <= size_a, start_a + t - 1, start_b + t - size_a - 2)
    special_RT = (t == 0) | (t == size_a + 1) | (t == stop - 1)
    tokens_RT = self._tokens[np.where(inside_RT & ~special_RT, source_RT, 0)]
    tokens_RT = np.where(special_RT, np.where(t == 0, cls_id, sep_id), tokens_RT)
    fields = {
      "tokens": np.where(inside_RT, tokens_RT, pad_id),
      "token_type_ids": inside_RT & (t > size_a + 1),
      "example_ids": inside_RT,
      "positions": np.where(inside_RT, t, 0),
    }
    shape = (len(index), length) if self._choices is None else (len(index), choices, length)
    return {name: array.astype(np.int32).reshape(shape) for name, array in fields.items()}
