"""Writes a run's model as a folder that `transformers` loads: config, safetensors, tokenizer and model card.

python scripts/export_huggingface.py --workdir=runs/NAME --output=FOLDER [--step=N]
"""

from absl import flags

from albert_jax import cli
from albert_jax.interop.export import export_huggingface

WORKDIR = flags.DEFINE_string("workdir", None, "The run's workdir.", required=True)
OUTPUT = flags.DEFINE_string("output", None, "The folder to make; must be new or empty.", required=True)
STEP = flags.DEFINE_integer("step", None, "Which checkpoint; the best or newest if not given.")


def main(_: list[str]) -> None:
  """Writes, and says how to load it."""
  name = export_huggingface(WORKDIR.value, OUTPUT.value, STEP.value)
  print(f"{OUTPUT.value}: transformers.{name}.from_pretrained({OUTPUT.value!r})")


if __name__ == "__main__":
  cli.run(main)
