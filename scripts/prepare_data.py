"""Prepares a config's data ahead of training, on this machine or on Apache Beam.

    python scripts/prepare_data.py --config=configs/albert_base.py
    python scripts/prepare_data.py --config=configs/albert_base.py --runner=DataflowRunner \\
      --beam_options=--project=P --beam_options=--region=R --beam_options=--temp_location=gs://B/tmp

train.py prepares what it does not find, so this script is for a large corpus: it needs no
accelerator. Beam's workers must see `config.data.cache_dir` under the same path.
"""

from absl import flags
from ml_collections import config_flags

from albert_jax import cli
from albert_jax.data.examples.metadata import SPLITS, read_metadata
from albert_jax.data.examples.prepare import prepare_from_config

UNITS = ("documents", "sentences", "tokens", "examples")

_CONFIG = config_flags.DEFINE_config_file("config", help_string="A file of configs/.")
_PROCESSES = flags.DEFINE_integer("processes", None, "Local processes; by default one for each core.", lower_bound=1)
_RUNNER = flags.DEFINE_string("runner", None, "Beam runner, e.g. DirectRunner or DataflowRunner.")
_BEAM_OPTIONS = flags.DEFINE_multi_string("beam_options", [], "A flag for Beam; may be repeated.")


def main(_: list[str]) -> None:
  """Prepares the data, then prints where it is and what it holds."""
  config = _CONFIG.value
  directory, tokenizer = prepare_from_config(
    config.data,
    processes=_PROCESSES.value,
    beam_runner=_RUNNER.value,
    beam_options=_BEAM_OPTIONS.value,
  )
  print(f"Examples:  {directory}")
  print(f"Tokenizer: {tokenizer.path} ({tokenizer.vocab_size:,} pieces)")
  splits = read_metadata(directory)["splits"]
  for split in SPLITS:
    counts = (f"{splits[split][unit]:,} {unit}" for unit in UNITS)
    print(f"{split}: {', '.join(counts)}")


if __name__ == "__main__":
  flags.mark_flag_as_required("config")
  cli.run(main)
