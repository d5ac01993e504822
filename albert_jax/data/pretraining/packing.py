"""Which examples share a row, planned over the histogram of their lengths.

Examples of equal length are interchangeable, so a plan is a list of packs (multisets of lengths) with counts, found in
time that depends on the row's length and not on the number of examples (Krell et al., "Efficient Sequence Packing
without Cross-contamination", arXiv 2107.02027, section 3). Row numbers are looked up in the plan, and slots in
the list of the examples of their length: rows are random-access, and every epoch packs other examples together.
"""

import bisect
import collections

import numpy as np

from albert_jax.data.random import Stream, draw_bits, permute

Packs = dict[tuple[int, ...], int]  # lengths that share a row -> number of such rows

_PAIRED_SHARES = (0.2, 0.4, 0.6, 0.8, 1.0)  # of the examples


def plan_packs(count_T: np.ndarray, max_examples: int) -> Packs:
  """Packs lengths into rows by two greedy rules, and keeps the mixture of them that needs the fewest rows.

  Best fit wins where a row may hold many examples. Where `max_examples` is the limit it runs out of long examples and
  is left with the short ones, which then fill rows of their own badly. So some rows pair long with short ones first;
  how many, and of how many examples, is found by trying.

  Args:
    count_T: number of examples of each length 0 … T, T being the row's length; none may have length 0.
    max_examples: examples in one row at most.
  """
  best = _fit_best(count_T, max_examples)
  for n in range(2, max_examples + 1):
    for share in _PAIRED_SHARES:
      packs, rest_T = _pair_extremes(count_T, n, round(share * count_T.sum()))
      packs.update(_fit_best(rest_T, max_examples))
      best = min(best, packs, key=lambda plan: sum(plan.values()))
  return dict(best)


def _fit_best(count_T: np.ndarray, max_examples: int) -> Packs:
  """Longest first, each where the least room is left for it (best-fit decreasing)."""
  row_length = len(count_T) - 1
  done = collections.Counter()
  open_packs = collections.defaultdict(list)  # room -> [(pack, rows)]
  rooms = []  # the keys of open_packs, sorted

  def put(pack, rows):
    room = row_length - sum(pack)
    if not room or len(pack) == max_examples:
      done[pack] += rows
      return
    if not open_packs[room]:
      bisect.insort(rooms, room)
    open_packs[room].append((pack, rows))

  for length in range(row_length, 0, -1):
    left = int(count_T[length])
    while left:
      place = bisect.bisect_left(rooms, length)
      if place == len(rooms):
        copies = min(left, max_examples, row_length // length)
        put((length,) * copies, left // copies)
        left %= copies
        continue
      room = rooms[place]
      pack, rows = open_packs[room].pop()
      if not open_packs[room]:
        rooms.pop(place)
      used = min(left, rows)
      if used < rows:
        put(pack, rows - used)
      put((*pack, length), used)
      left -= used
  for packs in open_packs.values():
    for pack, rows in packs:
      done[pack] += rows
  return dict(done)


def _pair_extremes(count_T: np.ndarray, max_examples: int, goal: int) -> tuple[collections.Counter, np.ndarray]:
  """The longest, as many of the shortest as may join it but one, then the longest that still fits.

  Returns:
    Packs of at least `goal` examples, fewer only where there are not so many, and the counts of the others.
  """
  left = {n: int(c) for n, c in enumerate(count_T) if c}
  lengths = sorted(left)
  packs, paired = collections.Counter(), 0
  while lengths and paired < goal:
    pack, room = collections.Counter(), len(count_T) - 1
    for slot in range(max_examples):
      fitting = range(bisect.bisect_right(lengths, room))
      if slot in (0, max_examples - 1):
        fitting = reversed(fitting)
      length = next((lengths[i] for i in fitting if pack[lengths[i]] < left[lengths[i]]), None)
      if length is None:
        break
      pack[length] += 1
      room -= length
    rows = min(-(-(goal - paired) // pack.total()), *(left[n] // k for n, k in pack.items()))
    packs[tuple(sorted(pack.elements(), reverse=True))] += rows
    paired += rows * pack.total()
    for n, k in pack.items():
      left[n] -= rows * k
      if not left[n]:
        lengths.remove(n)
  rest_T = np.zeros_like(count_T)
  rest_T[list(left)] = list(left.values())
  return packs, rest_T


class RowPlan:
  """Finds the examples of any row of any epoch.

  Attributes:
    num_rows: rows in one epoch; each example is in exactly one of them.
  """

  def __init__(self, lengths: np.ndarray, row_length: int, max_examples: int, *, seed: int, shuffle: bool):
    """Plans an epoch.

    Args:
      lengths: [X] tokens of each example, special tokens included, at least 1 and at most `row_length`.
      row_length: tokens in a row.
      max_examples: examples in a row at most, N.
      seed: of the epochs' orders.
      shuffle: rows go on without end, each epoch in a new order. Otherwise there is one epoch, the rows after it are
        empty, and with `max_examples` 1, row r is example r.
    """
    self._seed, self._shuffle, self._packs, self._row_length = seed, shuffle, max_examples > 1, row_length
    if self._packs:
      # A stable sort of 16-bit integers is a radix sort: a fraction of a second for ten million examples.
      order = np.argsort((lengths - 1).astype(np.uint16), kind="stable")
      self._order = order.astype(np.min_scalar_type(len(order)))
      self._sizes = np.bincount(lengths, minlength=row_length + 1)
      packs = plan_packs(self._sizes, max_examples)
      self._slots_PN = np.array([[*pack, *[0] * (max_examples - len(pack))] for pack in packs])
      rows_P = np.array(list(packs.values()))
    else:
      # Lengths do not matter: one bucket holds all examples.
      self._sizes = np.array([0, len(lengths)])
      self._slots_PN, rows_P = np.array([[1]]), np.array([len(lengths)])
    self._bucket = np.cumsum(self._sizes) - self._sizes
    self._last_row_P = np.cumsum(rows_P)
    self._first_row_P = self._last_row_P - rows_P
    self._first_rank_PN = _first_ranks(self._slots_PN, rows_P)
    self.num_rows = int(self._last_row_P[-1])

  def find_examples(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
    """Finds the example in each slot of rows start … stop - 1.

    Returns:
      int64 [R, N], -1 = empty; and [R, N], the tokens that the example may take: its length, or the whole row where
      rows hold one example.
    """
    epoch, place = np.divmod(np.arange(start, stop), self.num_rows)
    keys = self._epoch_keys(epoch)
    # Packs lie in the order of their lengths: those are shuffled in evaluation too, so that any first rows are a fair
    # sample.
    if self._shuffle or self._packs:
      place = permute(place, np.full(len(place), self.num_rows), keys(epoch, 0))
    pack = np.searchsorted(self._last_row_P, place, side="right")
    slots_RN = self._slots_PN[pack]
    rank_RN = self._first_rank_PN[pack] + (place - self._first_row_P[pack])[:, None]
    used = np.nonzero((slots_RN > 0) & (self._shuffle | (epoch == 0))[:, None])
    bucket, rank = slots_RN[used], rank_RN[used]
    index_RN = np.full(slots_RN.shape, -1)
    if self._packs:
      rank = permute(rank, self._sizes[bucket], keys(epoch[used[0]], bucket))
      index_RN[used] = self._order[self._bucket[bucket] + rank]
    else:
      index_RN[used] = rank
    return index_RN, slots_RN if self._packs else np.full_like(index_RN, self._row_length)

  def _epoch_keys(self, epochs: np.ndarray):
    """Makes the function (epoch, bucket) -> key of a permutation; bucket 0 stands for the rows."""
    first = int(epochs[0]) if len(epochs) else 0
    count = int(epochs[-1]) - first + 1 if len(epochs) else 0
    bits = draw_bits(self._seed, Stream.EPOCH, first, count, len(self._sizes))
    return lambda epoch, bucket: bits[epoch - first, bucket]


def _first_ranks(slots_PN: np.ndarray, rows_P: np.ndarray) -> np.ndarray:
  """For each slot, how many examples of its length the slots before it use: [P, N]."""
  slots = slots_PN.ravel()
  order = np.argsort(slots, kind="stable")
  uses = np.repeat(rows_P, slots_PN.shape[1])[order]
  before = np.cumsum(uses) - uses
  ranks = np.empty_like(before)
  ranks[order] = before - before[np.searchsorted(slots[order], slots[order])]
  return ranks.reshape(slots_PN.shape)
