"""Measures how fast one core makes pretraining batches, stage by stage, and what workers add.

    python scripts/benchmark_data.py                                  # synthetic examples
    python scripts/benchmark_data.py --examples=DIR --packing=4       # a set that scripts/prepare_data.py made
    python scripts/benchmark_data.py --workers=0,2,8 --pair_objective=nsp

Rates are in millions of tokens per second; padding is not counted. Stages are measured in the processor's time, so that
other programs do not count; threads and workers in the clock's. The stages: `plan` finds the examples of each row,
`read` fetches them, `assemble` splits and pairs, `place` lays them out in rows, `mask` chooses and replaces tokens.
`to device` hands a batch to JAX; on an accelerator the copy itself goes on beside the program, here it is waited for.
"""

import cProfile
import functools
import pstats
import time
from collections.abc import Iterable

import jax
from absl import flags

from albert_jax import cli
from albert_jax.data.examples.reader import open_examples, open_tokenizer
from albert_jax.data.loader import Batch, prefetch
from albert_jax.data.pretraining.rows import PretrainingRows
from albert_jax.data.pretraining.spec import PAIR_OBJECTIVES, BatchSettings, Vocabulary
from albert_jax.data.pretraining.synthetic import make_synthetic_examples, make_synthetic_vocabulary
from albert_jax.training.sharding import batch_sharding, make_mesh, to_devices

_EXAMPLES = flags.DEFINE_string("examples", None, "Directory of a prepared set; by default, synthetic examples.")
_MAX_LENGTH = flags.DEFINE_integer("max_length", 512, "Tokens in a row.")
_PACKING = flags.DEFINE_integer("packing", 1, "Examples in a row at most.")
_MASK_RATE = flags.DEFINE_float("mask_rate", 0.15, "Share of tokens that are predicted.")
_PAIR = flags.DEFINE_enum("pair_objective", "sop", PAIR_OBJECTIVES, "What a pair of segments is for.")
_ROWS = flags.DEFINE_integer("rows", 256, "Rows in a batch.", lower_bound=1)
_BATCHES = flags.DEFINE_integer("batches", 20, "Batches to time.", lower_bound=1)
_WORKERS = flags.DEFINE_list("workers", ["0", "2"], "Numbers of worker processes to time; 0 = threads.")
_VOCAB_SIZE = 30_000  # of synthetic examples


def main(_: list[str]) -> None:
  """Prints tokens per second for every stage, for whole batches and through `prefetch`."""
  rows = make_rows()
  make = functools.partial(make_batch, rows, _ROWS.value)
  steps = range(_BATCHES.value)
  tokens, seconds = time_batches(map(make, steps), time.process_time)
  batch = make(0)
  full = tokens / (batch["tokens"].size * len(steps))
  size = sum(array.nbytes for array in batch.values()) * len(steps) / tokens
  print(f"{rows.num_rows:,} rows of {_MAX_LENGTH.value} an epoch; they are {full:.1%} full, {size:.1f} bytes a token")
  for stage, spent in time_stages(make).items():
    report(stage, tokens, spent)
  report("all stages", tokens, seconds)
  report("to device", tokens, time_copies(batch))
  for workers in map(int, _WORKERS.value):
    batches = prefetch(make, 0, 2 * _BATCHES.value, workers=workers, buffer=2)
    for _ in steps:  # until workers have started and used up what they had made by then
      next(batches)
    report(f"{workers} workers" if workers else "threads", *time_batches(batches))


def report(what: str, tokens: int, seconds: float):
  """Prints one line."""
  print(f"{what:>12}: {tokens / seconds / 1e6:7.2f} M tokens/s")


def count_tokens(batches: Iterable[Batch]) -> int:
  """Counts tokens that are not padding."""
  return sum(int((batch["example_ids"] > 0).sum()) for batch in batches)


def time_batches(batches: Iterable[Batch], clock=time.perf_counter) -> tuple[int, float]:
  """Takes every batch: their tokens, and the seconds that it took."""
  start = clock()
  tokens = count_tokens(batches)
  return tokens, clock() - start


def time_stages(make) -> dict[str, float]:
  """Seconds that each stage takes for all batches; calls are few and large, so the profiler is cheap."""
  profiler = cProfile.Profile(time.process_time)
  for step in range(_BATCHES.value):
    profiler.runcall(make, step)
  stats = pstats.Stats(profiler).stats  # (file, line, function) -> (…, …, …, seconds, …)
  seconds = {key[2]: values[3] for key, values in stats.items() if "albert_jax" in key[0]}
  return {
    "plan": seconds["find_examples"],
    "read": seconds["get"],
    "assemble": seconds["assemble"] - seconds["get"],
    "place": seconds["place_examples"],
    "mask": seconds["mask_rows"],
  }


def time_copies(batch: Batch) -> float:
  """Seconds that it takes to hand the batch to one device, as often as there are batches to time."""
  sharding = batch_sharding(make_mesh({"data": 1, "fsdp": 1, "tensor": 1}, jax.devices()[:1]))
  jax.block_until_ready(to_devices(batch, sharding, _ROWS.value))  # starts the device
  start = time.process_time()
  for _ in range(_BATCHES.value):
    jax.block_until_ready(to_devices(batch, sharding, _ROWS.value))
  return time.process_time() - start


def make_rows() -> PretrainingRows:
  """Opens or makes the examples, and the rows on top."""
  settings = BatchSettings(
    max_length=_MAX_LENGTH.value,
    mask_rate=_MASK_RATE.value,
    pair_objective=_PAIR.value,
    packing=_PACKING.value,
  )
  if _EXAMPLES.value:
    examples = open_examples(_EXAMPLES.value, "train")
    vocabulary = Vocabulary.of(open_tokenizer(_EXAMPLES.value))
  else:
    examples = make_synthetic_examples(2**19 // settings.max_length, settings.max_length, _VOCAB_SIZE)
    vocabulary = make_synthetic_vocabulary(_VOCAB_SIZE)
  return PretrainingRows(examples, vocabulary, settings, shuffle=True)


def make_batch(rows: PretrainingRows, size: int, step: int) -> Batch:
  """The batch of one step; reads no flag, because workers get it by pickle."""
  return rows.batch(step, size, 0, size)


if __name__ == "__main__":
  cli.run(main)
