"""Writes a trained model for other programs: for `transformers`, ONNX runtimes, or anything that runs StableHLO.

python scripts/export.py --format=huggingface --workdir=runs/NAME --output=FOLDER [--step=N]

`onnx` and `stablehlo` (both need '.[export]') hold the encoder with every head that it has, in float32, for any batch
and length, with the tokenizer beside them; they also take a Hugging Face folder or hub:OWNER/NAME as the workdir.
"""

from absl import flags

from albert_jax import cli
from albert_jax.errors import InputError
from albert_jax.interop.export import export_huggingface
from albert_jax.interop.serving import export_serving
from albert_jax.interop.stablehlo import write_stablehlo

FORMAT = flags.DEFINE_enum("format", None, ["huggingface", "onnx", "stablehlo"], "What to write.", required=True)
WORKDIR = flags.DEFINE_string("workdir", None, "The run's workdir.", required=True)
OUTPUT = flags.DEFINE_string("output", None, "The folder to make; must be new or empty.", required=True)
STEP = flags.DEFINE_integer("step", None, "Which checkpoint; the best or newest if not given.")


def main(_: list[str]) -> None:
  """Writes, and says how to load it."""
  workdir, output = WORKDIR.value, OUTPUT.value
  if FORMAT.value == "huggingface":
    name = export_huggingface(workdir, output, STEP.value)
    print(f"{output}: transformers.{name}.from_pretrained({output!r})")
  elif FORMAT.value == "onnx":
    export_serving(workdir, output, _onnx_writer(), STEP.value)
    print(f"{output}: onnxruntime.InferenceSession('{output}/model.onnx')")
  else:
    export_serving(workdir, output, write_stablehlo, STEP.value)
    print(f"{output}: jax.export.deserialize(bytearray(open('{output}/model.jax_export', 'rb').read())).call")


def _onnx_writer():
  try:
    from albert_jax.interop.onnx_graph import write_onnx  # onnx is an extra
  except ImportError as error:
    raise InputError("--format=onnx needs the package onnx: pip install 'albert_jax[export]'.") from error
  return write_onnx


if __name__ == "__main__":
  cli.run(main)
