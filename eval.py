"""Evaluates a trained model: a run's checkpoint, or any start on the data of a config.

  python eval.py --workdir=DIR [--step=N] [--predictions=DIR]
  python eval.py --config=configs/glue.py:sst2 --config.init_from=DIR --config.data.dir=DIR [--predictions=DIR]

Of a run that keeps its best parameters, those; else the newest. The last line is a JSON object: step and metrics by
split. `--predictions` writes the files that people submit, for every split, into a folder.
"""

import json
from pathlib import Path

from absl import flags
from ml_collections import config_flags

from albert_jax import cli
from albert_jax.config import load_config
from albert_jax.errors import InputError
from albert_jax.interop.pretrained import open_pretrained
from albert_jax.runtime import distributed
from albert_jax.runtime.compilation import keep_compiled
from albert_jax.runtime.memory import reuse_memory
from albert_jax.tasks import make_task, resolve
from albert_jax.training.evaluation import infer, score
from albert_jax.training.init_from import Pretrained, init_from
from albert_jax.training.log.metrics import summary
from albert_jax.training.program import Program, make_program

_CONFIG = config_flags.DEFINE_config_file("config", None, "A file of configs/, instead of a run's own.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.")
_STEP = flags.DEFINE_integer("step", None, "Which checkpoint; the best or newest by default.")
_PREDICTIONS = flags.DEFINE_string("predictions", None, "Folder for the predictions of every split.")


def main(_: list[str]) -> None:
  """Restores the parameters and evaluates them."""
  distributed.initialize()
  reuse_memory()
  program, start = _open()
  params, new, _ = init_from(start, program.state.params)
  if new:
    raise InputError(f"{start.path} lacks {', '.join(new)}: train it for this task first.")
  data, results = program.task.load_data(), {}
  for split, rows in {**data.evaluations, **data.unlabelled}.items():
    means, outputs = infer(program, params, rows)
    if split in data.evaluations:
      results[split] = score(program, split, means, outputs)
      print(f"{split}, {start.about}: {summary(results[split])}")
    if _PREDICTIONS.value:
      folder = Path(_PREDICTIONS.value)
      folder.mkdir(parents=True, exist_ok=True)
      for path in program.task.write_predictions(split, outputs, folder):
        print(f"{split}: wrote {path}")
  print(json.dumps({"step": start.step, **results}))


def _open() -> tuple[Program, Pretrained]:
  """The program and the parameters that the flags ask for."""
  if (_WORKDIR.value is None) == (_CONFIG.value is None):
    raise InputError("Give --workdir=DIR, or --config=FILE with --config.init_from=DIR.")
  if _WORKDIR.value is not None:
    config, start = load_config(_WORKDIR.value), open_pretrained(_WORKDIR.value, _STEP.value)
    if start.step == 0:
      raise InputError(
        f"{_WORKDIR.value} holds an imported model, which has no data of its own: "
        f"give --config=FILE and --config.init_from={_WORKDIR.value}"
      )
    if config.task != "pretrain":  # whose examples, prepared with it, are found by the tokenizer's own name
      config.data.tokenizer = start.tokenizer
  else:
    config = _CONFIG.value
    if not config.init_from:
      raise InputError("--config.init_from=DIR is missing: which model is to be evaluated?")
    start = resolve(config, open_pretrained(config.init_from, _STEP.value))
  keep_compiled(config.data.cache_dir)
  config.mesh.update(data=-1, fsdp=1, tensor=1)  # whatever devices there are
  return make_program(config, make_task(config)), start


if __name__ == "__main__":
  cli.run(main)
