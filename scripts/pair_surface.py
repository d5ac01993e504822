"""Measures how much of a config's pair objective is told by the surface of A and B; trains nothing.

    python scripts/pair_surface.py --config=configs/albert_tiny.py
    python scripts/pair_surface.py --config=configs/albert_tiny.py --config.data.cut_pairs=True

The rule looks at final punctuation, at which side is longer and at whether the row is full (see
albert_jax/data/pretraining/baselines.py). It is counted on training rows and tried on the held-out ones, as in an
evaluation.
"""

import numpy as np
from absl import flags
from ml_collections import config_flags

from albert_jax import cli
from albert_jax.errors import InputError
from albert_jax.tasks import make_task, resolve

_CONFIG = config_flags.DEFINE_config_file("config", help_string="A file of configs/.")


def main(_: list[str]) -> None:
  """Prints the held-out pairs, the share of the commoner label and the accuracy of the rule."""
  config = _CONFIG.value
  resolve(config, None)
  if config.task != "pretrain" or config.data.pair_objective == "none":
    raise InputError("--config must have a pair objective.")
  rows = make_task(config).load_data().evaluations["valid"]
  batch = rows.batch(0, rows.num_rows, 0, rows.num_rows)
  used = batch["pair_weights"] > 0
  count = int(used.sum())
  if not count:
    raise InputError("None of the held-out examples has a pair.")
  ones, right = batch["pair_labels"][used].mean(), batch["pair_surface_right"][used].mean()
  error = np.sqrt(right * (1 - right) / count)
  examples = int(batch["example_ids"].max(axis=1).sum())
  print(f"{examples:,} held-out examples in {rows.num_rows:,} rows, {count:,} with a pair ({count / examples:.1%})")
  print(f"commoner label {max(ones, 1 - ones):.1%}, surface rule {right:.1%} ± {error:.1%} (one standard error)")


if __name__ == "__main__":
  flags.mark_flag_as_required("config")
  cli.run(main)
