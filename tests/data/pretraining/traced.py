"""Examples made of chunks whose every token is unique, so that each can be traced to its place."""

import numpy as np

from albert_jax.data.pretraining.segments import assemble
from albert_jax.data.pretraining.spec import BatchSettings, Vocabulary
from albert_jax.data.pretraining.synthetic import MemoryExamples

# Probability of |z| > 4: what a true null hypothesis exceeds once in 16,000 seeds.
RARE = 6e-5
PAD, UNK, CLS, SEP, MASK = range(5)
SIZE = 1_000_000
VOCABULARY = Vocabulary(SIZE, PAD, CLS, SEP, MASK, tuple(range(5)), np.ones(SIZE, bool))


class Traced:
  """Chunks of sentences of the given lengths, with unique tokens."""

  def __init__(self, sentence_lengths, documents=None):
    token, chunks = 5, []
    self.chunk_of, self.sentence_of = {}, {}
    for c, lengths in enumerate(sentence_lengths):
      chunks.append([])
      for s, length in enumerate(lengths):
        ids = list(range(token, token + length))
        token += length
        chunks[-1].append(ids)
        self.chunk_of |= dict.fromkeys(ids, c)
        self.sentence_of |= dict.fromkeys(ids, s)
    self.chunks = chunks
    self.documents = documents or list(range(len(chunks)))
    self.examples = MemoryExamples(chunks, documents)

  def make(self, repeats=1, planned=None, first_row=0, **settings):
    """Assembles every chunk `repeats` times, one in a row: [(chunk, A, B or None, label, weight)]."""
    settings = BatchSettings(**{"max_length": 64, **settings})
    index = np.repeat(np.arange(len(self.chunks)), repeats)[:, None]
    planned = np.full(index.shape, planned or settings.max_length)
    unsplit = np.full(len(self.examples), settings.pair_objective == "none")
    made = assemble(self.examples, unsplit, index, planned, first_row, VOCABULARY, settings)
    results = []
    ends = np.cumsum(made.lengths)
    for x, (end, length) in enumerate(zip(ends, made.lengths)):
      part = slice(end - length, end)
      a, b = parse(made.tokens[part].tolist(), made.types[part].tolist())
      assert made.positions[part].tolist() == list(range(length))
      assert length <= planned[x, 0]
      label, weight = int(made.pair_labels[x]), float(made.pair_weights[x])
      results.append((int(index[x, 0]), a, b, label, weight))
    return results


def parse(tokens, types):
  """Checks the layout and returns segments A and B (None if there is one segment)."""
  assert tokens[0] == CLS
  assert tokens[-1] == SEP
  separators = [i for i, t in enumerate(tokens) if t == SEP]
  assert len(separators) in (1, 2)
  assert types == [int(i > separators[0]) for i in range(len(tokens))]
  assert not {CLS, PAD, MASK} & set(tokens[1:])
  a = tokens[1 : separators[0]]
  b = tokens[separators[0] + 1 : -1] if len(separators) == 2 else None
  assert a
  assert b is None or b
  return a, b
