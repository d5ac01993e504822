"""Draws the curves of one run, or of several to compare.

    python scripts/plot_metrics.py --workdir=runs/albert_tiny --output=albert_tiny.png
    python scripts/plot_metrics.py --workdir=runs/a --workdir=runs/b --x=tokens --output=a_or_b.svg
    python scripts/plot_metrics.py --bands --workdir=runs/a/seed_0 --workdir=runs/a/seed_1 … --output=a.png

Thin lines are training, lines with points are evaluation; --bands draws the seeds of a run as their mean and range.
Dashes are what a model without context reaches: unigram frequencies for masked tokens, a rule on the surface of A and B
for sentence pairs (a coin is dotted). Needs matplotlib: pip install -e '.[plot]'.
"""

from pathlib import Path

from absl import flags

from albert_jax import cli
from albert_jax.errors import InputError
from albert_jax.files import new_file
from albert_jax.plots.runs import LABELS, draw, group_by_seed, read_run

_WORKDIRS = flags.DEFINE_multi_string("workdir", None, "Folder of a run; may be repeated.", required=True)
_OUTPUT = flags.DEFINE_string("output", None, "The picture to write: .png, .svg or .pdf.", required=True)
_X = flags.DEFINE_enum("x", "step", list(LABELS), "What the curves are drawn against.")
_BANDS = flags.DEFINE_bool("bands", False, "Draw runs that differ in nothing but their seed as mean and range.")


def main(_: list[str]) -> None:
  """Reads the runs, draws them and writes the picture."""
  runs = [read_run(workdir) for workdir in _WORKDIRS.value]
  if _BANDS.value:
    groups = group_by_seed(_WORKDIRS.value, runs)
  else:
    groups = {f"{run.name}{'' if number == 0 else f' ({number})'}": [run] for number, run in _numbered(runs)}
  save(draw(groups, _X.value), _OUTPUT.value)


def _numbered(runs: list) -> list[tuple[int, object]]:
  """Runs with the number of earlier ones that have the same name."""
  return [(sum(other.name == run.name for other in runs[:place]), run) for place, run in enumerate(runs)]


def save(figure, output: str) -> None:
  """Writes the picture, whole or not at all.

  Raises:
    InputError: the ending is not that of a picture, or the folder cannot be written.
  """
  path = Path(output)
  kind = path.suffix.removeprefix(".").lower()
  known = figure.canvas.get_supported_filetypes()
  if kind not in known:
    raise InputError(f"--output={output}: the ending must be one of .{', .'.join(sorted(known))}.")
  try:
    with new_file(path) as temporary:
      figure.savefig(temporary, dpi=160)
  except OSError as error:
    raise InputError(f"--output={output} cannot be written ({error.strerror}).") from error


if __name__ == "__main__":
  cli.run(main)
