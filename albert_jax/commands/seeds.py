"""The same run with several seeds: mean and spread of every metric."""

import json
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import ml_collections

from albert_jax.config import adopt_earlier
from albert_jax.files import new_file
from albert_jax.messages import say
from albert_jax.runtime.supervisor import NoticeBoard
from albert_jax.training.compiled_step import Executables
from albert_jax.training.init_from import Pretrained
from albert_jax.training.loop import train
from albert_jax.training.program import Program

FILE = "seeds.json"


def train_seeds(
  make: Callable[[ml_collections.ConfigDict], Program],
  config: ml_collections.ConfigDict,
  workdir: str,
  start: Pretrained | None,
  *,
  allow_changes: Sequence[str] = (),
  notices: NoticeBoard | None = None,
) -> dict[str, dict[str, dict]]:
  """Trains with the seeds `seed` … `seed + seeds − 1`, each in its folder `WORKDIR/seed_N`.

  Args:
    make: builds the program of one seed's config.
    config: holds `seed` and `seeds`.
    workdir: `seeds.json` is written here; seeds that are already trained are only evaluated again.
    start: where each run takes its first parameters from.
    allow_changes: as in `train`.
    notices: as in `train`.

  Returns:
    mean, standard deviation (of a sample) and the values of each metric, by split.
  """
  results, executables = [], Executables()  # the step is the same for all seeds
  for seed in range(config.seed, config.seed + config.seeds):
    own = config.copy_and_resolve_references()
    with own.unlocked():
      own.update(seed=seed, seeds=1, name=f"{config.name}_seed_{seed}")
    say(f"seed {seed}")
    folder = str(Path(workdir) / f"seed_{seed}")
    adopt_earlier(own, folder, allow_changes)
    more = dict(allow_changes=allow_changes, notices=notices, executables=executables)
    results.append(train(make(own), folder, start, **more))
  found = {split: _spread([result[split] for result in results]) for split in results[0]}
  if jax.process_index() == 0:
    with new_file(Path(workdir) / FILE) as path:
      path.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
  for split, metrics in found.items():
    told = "  ".join(f"{name} {m['mean']:.4f} ± {m['std']:.4f}" for name, m in metrics.items())
    say(f"{split} over {config.seeds} seeds: {told}")
  return found


def _spread(results: list[dict[str, float]]) -> dict[str, dict]:
  columns = {name: [result[name] for result in results] for name in results[0]}
  return {
    name: {"mean": statistics.mean(values), "std": statistics.stdev(values), "values": values}
    for name, values in columns.items()
  }
