"""From documents to rows: how full they are, and that who makes them does not show."""

import numpy as np
import pytest

from albert_jax.data.examples.chunks import ExampleSettings, document_chunks
from albert_jax.data.pretraining.rows import PretrainingRows
from albert_jax.data.pretraining.spec import BatchSettings
from albert_jax.data.pretraining.synthetic import MemoryExamples, make_synthetic_vocabulary

VOCAB_SIZE = 100


def make_examples(documents: list[list[int]], max_length: int) -> MemoryExamples:
  """Cuts documents, given as lengths of their sentences, into examples, as preparation does."""
  settings = ExampleSettings(max_length=max_length)
  chunks, owners = [], []
  for number, lengths in enumerate(documents):
    found = document_chunks(lengths, f"document {number}", settings)
    chunks += [[[7] * length for length in chunk] for chunk in found]
    owners += [number] * len(found)
  return MemoryExamples(chunks, owners, max_length=max_length)


def articles(count: int) -> list[list[int]]:
  """Sentences of about 30 tokens, 3 to 500 a document: lengths like those of an encyclopedia's text."""
  rng = np.random.default_rng(0)
  sizes = np.clip(rng.lognormal(4, 1, count), 3, 500).astype(int)
  return [np.clip(rng.lognormal(3.2, 0.6, n), 1, 400).astype(int).tolist() for n in sizes]


def notes(count: int, mean: float) -> list[list[int]]:
  """Documents of one or two sentences, `mean` tokens long."""
  rng = np.random.default_rng(0)
  sizes = np.maximum(rng.lognormal(np.log(mean) - 0.18, 0.6, count).astype(int), 2)
  return [[n // 2, n - n // 2] if n % 3 else [n] for n in sizes.tolist()]


def measure_fill(examples: MemoryExamples, max_length: int, **settings) -> float:
  """Share of the positions of an epoch that hold tokens."""
  settings = BatchSettings(max_length=max_length, **settings)
  rows = PretrainingRows(examples, make_synthetic_vocabulary(VOCAB_SIZE), settings, shuffle=True)
  return (rows.batch(0, rows.num_rows, 0, rows.num_rows)["example_ids"] > 0).mean()


def fill(documents, max_length: int, **settings) -> float:
  """As `measure_fill`, for documents given as lengths of their sentences."""
  return measure_fill(make_examples(documents, max_length), max_length, **settings)


@pytest.mark.parametrize("pair_objective", ["sop", "nsp", "none"])
@pytest.mark.parametrize("max_length", [128, 512])
def test_two_examples_a_row_fill_it_with_articles(max_length, pair_objective):
  text = articles(max_length // 4)
  assert fill(text, max_length, packing=2, pair_objective=pair_objective) > 0.97
  assert fill(text, max_length, packing=1, pair_objective=pair_objective) < 0.95


@pytest.mark.parametrize("part", [2, 3, 4])
def test_eight_examples_a_row_fill_it_with_short_texts(part):
  short = notes(3000, 128 / part - 3)
  assert fill(short, 128, packing=8) > 0.97
  assert fill(short, 128, packing=1) < 1.2 / part


@pytest.mark.parametrize(
  ("settings", "sentences", "share"),
  [
    ({}, [14], 1),  # and [CLS] and [SEP]
    ({}, [6, 7], 1),  # and [CLS] and two [SEP]
    ({"pair_objective": "none"}, [6, 8], 1),
    ({"single_sentence_random_pair": True}, [14], 17 / 32),  # two of 17 do not fit
  ],
)
def test_special_tokens_are_planned_for_as_many_as_there_will_be(settings, sentences, share):
  examples = MemoryExamples([[[7] * length for length in sentences]] * 16, max_length=32)
  assert measure_fill(examples, 32, packing=2, **settings) == share


def test_an_epoch_holds_every_example_once_whoever_makes_it():
  examples = make_examples(articles(40), 128)
  settings = BatchSettings(max_length=128, packing=4)
  rows = PretrainingRows(examples, make_synthetic_vocabulary(VOCAB_SIZE), settings, shuffle=True)
  whole = rows.batch(0, rows.num_rows, 0, rows.num_rows)
  assert whole["example_ids"].max(axis=1).sum() == len(examples)
  for batch_size, processes in [(8, 1), (8, 4), (24, 3)]:
    part = batch_size // processes
    for number in (5, 0, 2):  # in any order
      shards = [rows.batch(number, batch_size, p * part, (p + 1) * part) for p in range(processes)]
      for key, values in whole.items():
        joined = np.concatenate([shard[key] for shard in shards])
        np.testing.assert_array_equal(joined, values[number * batch_size :][:batch_size], err_msg=key)
