"""From the `data` part of a config to a prepared set of examples and its tokenizer."""

import os
from collections.abc import Sequence
from pathlib import Path

from albert_jax.data.examples.prepare import ExampleSettings, prepare
from albert_jax.data.text.sources import open_source
from albert_jax.data.tokenizers.registry import Tokenizer, resolve_tokenizer


def prepare_from_config(
  data_config,
  *,
  seed: int,
  processes: int | None = None,
  beam_runner: str | None = None,
  beam_options: Sequence[str] = (),
  progress: bool = True,
) -> tuple[Path, Tokenizer]:
  """Finds or makes what `data_config` asks for: the tokenizer, then the examples.

  Args:
    data_config: has source, text_key, tokenizer, max_length, short_seq_prob, layout, valid_fraction
      and cache_dir.
    seed: decides which documents are held out and the lengths of the short chunks.
    processes, beam_runner, beam_options, progress: as in `examples.prepare`.

  Returns:
    The directory for `examples.open_examples`, and the tokenizer.
  """
  cache_dir = os.path.expanduser(data_config.cache_dir)
  source = open_source(data_config.source, text_key=data_config.text_key)
  tokenizer = resolve_tokenizer(data_config.tokenizer, source, cache_dir)
  settings = ExampleSettings(
    max_length=data_config.max_length,
    short_seq_prob=data_config.short_seq_prob,
    layout=data_config.layout,
    valid_fraction=data_config.valid_fraction,
    seed=seed,
  )
  directory = prepare(
    source,
    tokenizer,
    settings,
    cache_dir,
    processes=processes,
    beam_runner=beam_runner,
    beam_options=beam_options,
    progress=progress,
  )
  return directory, tokenizer
