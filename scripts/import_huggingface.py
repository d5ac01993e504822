"""Makes a workdir of a BERT or ALBERT in Hugging Face's format, for `--config.init_from`.

python scripts/import_huggingface.py --source=FOLDER --workdir=runs/NAME
"""

from absl import flags

from albert_jax import cli
from albert_jax.interop.huggingface import import_huggingface
from albert_jax.models.param import count

SOURCE = flags.DEFINE_string("source", None, "Folder with config.json and safetensors.", required=True)
WORKDIR = flags.DEFINE_string("workdir", None, "The workdir to make; must be new or empty.", required=True)


def main(_: list[str]) -> None:
  """Reads, writes, and says what it was."""
  found = import_huggingface(SOURCE.value, WORKDIR.value)
  tokenizer = f"{found.tokenizer.kind} tokenizer" if found.tokenizer is not None else "no tokenizer"
  print(f"{WORKDIR.value}: {count(found.params):,} parameters ({', '.join(found.params)}), {tokenizer}")


if __name__ == "__main__":
  cli.run(main)
