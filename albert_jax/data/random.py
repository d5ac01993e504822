"""Random numbers without state: those of a row depend on (seed, stream, row) alone.

Philox is a counter-based generator (Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011), so
the numbers of any run of consecutive rows come from one vectorised call that starts at the first row's counter.
"""

import enum

import numpy as np

_WORDS_PER_STEP = 4  # Philox 4x64 makes four 64-bit words for each step of its counter
_FEISTEL_ROUNDS = 8  # even, so that halves of unequal width end where they began
_MULTIPLIER = np.uint64(6364136223846793005)  # Knuth's 64-bit linear congruential generator (MMIX)
_INCREMENT = np.uint64(1442695040888963407)
_HALF = np.uint64(32)


class Stream(enum.IntEnum):
  """Independent sequences under one seed, one for each thing that is drawn."""

  EPOCH = 0
  PAIR = 1
  MASK = 2
  REPLACE = 3


def draw_bits(seed: int, stream: Stream, start: int, rows: int, words: int) -> np.ndarray:
  """Draws `words` random uint64 for each row in [start, start + rows): [rows, words]."""
  steps = -(-words // _WORDS_PER_STEP)
  generator = np.random.Philox(key=np.array([seed, stream], np.uint64), counter=start * steps)
  bits = generator.random_raw(rows * steps * _WORDS_PER_STEP)
  return bits.reshape(rows, steps * _WORDS_PER_STEP)[:, :words]


def uniform(bits: np.ndarray) -> np.ndarray:
  """Maps random uint64 to float64 in [0, 1), evenly spaced by 2**-53."""
  return (bits >> np.uint64(11)) * 2.0**-53


def below(bits: np.ndarray, bound: np.ndarray | int) -> np.ndarray:
  """Maps random uint64 to int64 in [0, bound)."""
  return (uniform(bits) * bound).astype(np.int64)


def count_heads(bits_XW: np.ndarray, tosses: np.ndarray) -> np.ndarray:
  """Counts the ones among the first `tosses` bits of each row: Binomial(tosses, 1/2).

  Args:
    bits_XW: random uint64, 64 fair coins each; W must be > max(tosses) / 64.
    tosses: [X], each at least 0.
  """
  word, rest = np.divmod(tosses, 64)
  x = np.arange(len(tosses))
  ones_XW = np.cumsum(np.bitwise_count(bits_XW), axis=1, dtype=np.int64)
  whole = np.where(word > 0, ones_XW[x, word - 1], 0)
  low = (np.uint64(1) << rest.astype(np.uint64)) - np.uint64(1)
  return whole + np.bitwise_count(bits_XW[x, word] & low)


def permute(index: np.ndarray, size: np.ndarray, key: np.ndarray) -> np.ndarray:
  """Sends each index to its place in a pseudo-random permutation of [0, size), chosen by key.

  A Feistel network permutes the next power of two, and an index that lands outside [0, size) walks on until it is back
  inside (Black and Rogaway, "Ciphers with Arbitrary Finite Domains", CT-RSA 2002). Nothing of length `size` is built:
  a permutation of ten million rows costs no memory.

  Args:
    index: int64 [n], from 0 to below the size.
    size: int64 [n], above 0.
    key: uint64 [n].
  """
  bits = np.frexp(size - 1)[1].astype(np.uint64)  # of the largest index
  place = index.astype(np.uint64)
  outside = np.arange(len(place))
  while len(outside):
    place[outside] = _feistel(place[outside], bits[outside], key[outside])
    outside = outside[place[outside] >= size[outside]]
  return place.astype(np.int64)


def _feistel(x: np.ndarray, bits: np.ndarray, key: np.ndarray) -> np.ndarray:
  """Permutes the integers of `bits` bits; all arguments are uint64 [n].

  A round splits x into a high and a low part, keeps the low part as the new high one, and makes the new low part by
  adding (xor) a hash of the low part and the key to the high one. That can be undone whatever the hash is, so a round
  is a permutation. For 5 bits, 3 high and 2 low: x = 101|10 becomes 10|(101 ^ hash(10)), now 2 high and 3 low bits.
  """
  one = np.uint64(1)
  right = bits >> one
  left = bits - right
  for _ in range(_FEISTEL_ROUNDS):
    key = key * _MULTIPLIER + _INCREMENT
    low = x & ((one << right) - one)
    mixed = (low ^ (key >> _HALF)) * _MULTIPLIER
    mixed = (mixed ^ (mixed >> _HALF)) * _MULTIPLIER
    high = ((mixed >> _HALF) ^ (x >> right)) & ((one << left) - one)
    x = (low << left) | high
    left, right = right, left
  return x
