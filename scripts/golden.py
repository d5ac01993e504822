"""Hashes of what every config computes, to compare two versions of the code on one machine.

    python scripts/golden.py --output=before.json
    (change the code)
    python scripts/golden.py --output=after.json && diff before.json after.json

For each config's `test` variant: the parameters of seed 0, the first training and evaluation batches, the losses of
the first steps, and the parameters after them, to the last bit. Losses depend on the processor and on JAX's version:
keep both. One CPU device; the text is made here, so that no installed package changes it. Two minutes on two cores.
"""

import argparse
import contextlib
import hashlib
import importlib
import json
import os
import sys
import tempfile
from pathlib import Path

os.environ["JAX_PLATFORMS"] = "cpu"
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # for configs/, and for the code of this checkout

import jax
import numpy as np

import configs
from albert_jax.tasks import make_task, resolve
from albert_jax.training.program import make_program

STEPS = 3
FINETUNING = ("glue:sst2", "glue:stsb", "race", "squad:v1", "squad:v2", "text_classification")
NAMES = ("Ada", "Bell", "Cole", "Dora", "Egon", "Finn", "Gina", "Hugo", "Ines", "Jan")
VERBS = ("sees", "hears", "helps", "finds", "calls", "thanks")
PLACES = ("garden", "harbour", "library", "market", "station", "theatre")


def main() -> None:
  """Hashes what the configs compute and writes one JSON object."""
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--output", help="the file to write; standard output by default")
  parser.add_argument("--only", default="", help="a part of the names of the configs, to take fewer")
  arguments = parser.parse_args()
  names = {path.stem for path in Path(configs.__file__).parent.glob("*.py")} - {"__init__", "common"}
  names = sorted({*names, *FINETUNING} - {"glue", "squad"})
  found, known = {}, {}
  with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
    write_texts(Path(folder))
    for name in names:
      if arguments.only in name:
        found[name] = golden(name, Path(folder), known)
        print(name, *found[name]["losses"], flush=True)
  text = json.dumps(found, indent=1) + "\n"
  Path(arguments.output).write_text(text, encoding="utf-8") if arguments.output else print(text, end="")


def golden(name: str, folder: Path, known: dict[str, dict]) -> dict:
  """What a config computes, as text; `known` keeps it by the config's record."""
  module, _, argument = name.partition(":")
  config = importlib.import_module(f"configs.{module}").get_config(",".join(filter(None, (argument, "test"))))
  config.data.cache_dir = str(folder / "cache")
  if config.task == "pretrain":
    kind = "wordpiece" if "wordpiece" in config.data.tokenizer else "sentencepiece"
    config.data.update(source=f"files:{folder}/text.txt", tokenizer=f"train:{kind}:50")
    config.model.vocab_size = 56
  elif module == "text_classification":
    config.data.update(dir=str(folder), train="train.csv", valid="", test="", tokenizer="train:wordpiece:100")
  resolve(config, None)
  record = json.dumps({**json.loads(config.to_json_best_effort()), "name": ""}, sort_keys=True)
  if record not in known:  # the `test` variants of one model's sizes are the same
    known[record] = compute(config)
  return known[record]


def compute(config) -> dict:
  """Parameters, batches and losses."""
  program = make_program(config, make_task(config), jax.devices()[:1])
  data, size = program.task.load_data(), config.train.batch_size
  batches = [data.train.batch(number, size, 0, size) for number in range(STEPS)]
  size = config.eval.batch_size
  evaluations = {split: rows.batch(0, size, 0, size) for split, rows in data.evaluations.items()}
  state = program.init(0)
  hashes = {"params": digest(state.params)}
  hashes |= {f"batch {number}": digest_fields(batch) for number, batch in enumerate(batches)}
  hashes |= {split: digest_fields(batch) for split, batch in evaluations.items()}
  losses = []
  for batch in batches:
    state, terms = program.train_step(state, batch, program.hyper)
    parts = [jax.device_get(terms[part]) for part in program.task.losses]
    losses.append(sum(float(total) / float(weight) for total, weight in parts).hex())
  return {**hashes, "losses": losses, "params after": digest(state.params)}


def digest(tree) -> str:
  """sha256 of a nested dict of arrays: names, dtypes, shapes and bytes, sorted by name."""
  leaves = {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}
  found = hashlib.sha256()
  for name, array in sorted(leaves.items()):
    found.update(f"{name} {array.dtype} {array.shape}\n".encode() + array.tobytes())
  return found.hexdigest()


def digest_fields(batch) -> str:
  """The same of a batch's fields, whatever they are called."""
  return hashlib.sha256("".join(sorted(digest([field]) for field in batch.values())).encode()).hexdigest()


def write_texts(folder: Path) -> None:
  """A few hundred short documents, and labelled sentences."""
  documents, rows = [], ["text,label"]
  for number in range(240):
    lines = []
    for line in range(4 + number % 5):
      name, other, verb = NAMES[(number + line) % 10], NAMES[(number * 3 + line * 7 + 1) % 10], (number + 2 * line) % 6
      lines.append(f"{name} {VERBS[verb]} {other} in the {PLACES[(number * line) % 6]} today.")
    documents.append("\n".join(lines))
    rows.append(f"{lines[-1]},{'even' if number % 2 == 0 else 'odd'}")
  (folder / "text.txt").write_text("\n\n".join(documents) + "\n", encoding="utf-8")
  (folder / "train.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")


if __name__ == "__main__":
  main()
