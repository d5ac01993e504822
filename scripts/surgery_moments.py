"""Measures how the optimizer's moments should follow when shared layers are untied.

A small model that shares everything is trained at a constant rate. From its end, models without sharing go on with each
choice of `init_optimizer`, at the same rate, without warm-up, on the same batches; so does the shared model itself
with its own moments. One line of JSON for each: the mean training loss in several stretches of steps.

python scripts/surgery_moments.py --workdir=runs/surgery_moments [--seed=0] [--steps=200] [--more=100] [--beta2=0.98]
"""

import json
import statistics
from pathlib import Path

from absl import app, flags

from albert_jax.interop.pretrained import open_pretrained
from albert_jax.tasks import make_task, resolve
from albert_jax.training.log.metrics import FILE, records
from albert_jax.training.loop import train
from albert_jax.training.program import make_program
from labs import common

_WORKDIR = flags.DEFINE_string("workdir", "runs/surgery_moments", "Folder of the runs.")
_SEED = flags.DEFINE_integer("seed", 0, "Of all runs.")
_STEPS = flags.DEFINE_integer("steps", 200, "Steps of the shared model.")
_MORE = flags.DEFINE_integer("more", 100, "Steps after surgery.")
_BETA2 = flags.DEFINE_float("beta2", 0.98, "Decay of the second moment.")

STRETCHES = ((1, 5), (6, 20), (21, 50), (51, 100))


def main(_: list[str]) -> None:
  """Trains the shared model and its successors, and prints what they lose."""
  first = Path(_WORKDIR.value) / f"beta2={_BETA2.value:g}" / f"seed={_SEED.value}"
  losses(first / "all", "all", _STEPS.value, warmup=_STEPS.value // 4)
  choices = {"continued": ("all", "copy")} | {
    name: ("none", name) for name in ("parallel", "independent", "copy", "new")
  }
  for name, (scheme, moments) in choices.items():
    found = losses(first / name, scheme, _MORE.value, start=str(first / "all"), moments=moments)
    means = {f"{a}-{b}": round(statistics.fmean(found[a - 1 : b]), 4) for a, b in STRETCHES if b <= len(found)}
    print(json.dumps({"seed": _SEED.value, "beta2": _BETA2.value, "moments": name, "loss": means}), flush=True)


def losses(folder: Path, scheme: str, steps: int, *, start: str = "", moments: str = "new", warmup: int = 0) -> list:
  """The training loss of every step of a run, which is trained unless it is there."""
  config = common.base(common.parse("test"))
  config = config.copy_and_resolve_references()
  with config.unlocked():
    config.update(seed=_SEED.value, init_from=start, init_optimizer=moments)
    config.model.sharing.update(attn=scheme, ffn=scheme)
    config.train.update(steps=steps, log_every=1)
    config.optimizer.update(schedule="constant", warmup_steps=warmup, beta2=_BETA2.value)
    config.eval.update(every=steps)
    config.checkpoint.update(every=steps)
  source = resolve(config, open_pretrained(start) if start else None)
  train(make_program(config, make_task(config)), str(folder), source)
  return [line["mlm_loss"] for line in records(folder / FILE) if line["split"] == "train"]


if __name__ == "__main__":
  app.run(main)
