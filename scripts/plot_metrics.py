"""Draws the curves of one run, or of several to compare.

    python scripts/plot_metrics.py --workdir=runs/albert_tiny --output=albert_tiny.png
    python scripts/plot_metrics.py --workdir=runs/a --workdir=runs/b --x=tokens --output=a_or_b.svg

Thin lines are training, lines with points are evaluation. Dashes are what a model without context reaches: unigram
frequencies for masked tokens, a coin for sentence pairs. Needs matplotlib: pip install -e '.[plot]'.
"""

import dataclasses
import json
import os
from pathlib import Path

import numpy as np
from absl import flags

from albert_jax import cli
from albert_jax.config import load_config
from albert_jax.errors import InputError
from albert_jax.files import new_file
from albert_jax.training.log.metrics import FILE

METRICS = {
  "mlm_loss": "masked-LM loss (nats)",
  "pair_accuracy": "sentence-pair accuracy",
  "loss": "loss",
  "accuracy": "accuracy",
  "matthews": "Matthews correlation",
  "pearson": "Pearson correlation",
  "exact_match": "exact match (%)",
  "exact": "exact match (%)",
  "f1": "F1",
}
LABELS = {"step": "step", "tokens": "tokens, without padding"}

_WORKDIRS = flags.DEFINE_multi_string("workdir", None, "Folder of a run; may be repeated.", required=True)
_OUTPUT = flags.DEFINE_string("output", None, "The picture to write: .png, .svg or .pdf.", required=True)
_X = flags.DEFINE_enum("x", "step", list(LABELS), "What the curves are drawn against.")


@dataclasses.dataclass(frozen=True)
class Run:
  """The metrics of a run: `lines[split]` holds its lines of metrics.jsonl, in order."""

  name: str
  lines: dict[str, list[dict]]
  positions_per_step: int

  def curve(self, split: str, metric: str, x: str) -> tuple[np.ndarray, np.ndarray]:
    """The points of one metric; empty where the split does not have it."""
    lines = [line for line in self.lines[split] if metric in line]
    steps = np.array([line["step"] for line in lines], float)
    return (steps if x == "step" else self.tokens(steps)), np.array([line[metric] for line in lines], float)

  def tokens(self, steps: np.ndarray) -> np.ndarray:
    """Tokens trained on by each step, padding not counted."""
    train = self.lines.get("train", [])
    known = np.array([0, *(line["step"] for line in train)], float)
    fill = np.array([line.get("fill", 0) for line in train], float)
    seen = np.append(0, np.cumsum(np.diff(known) * fill)) * self.positions_per_step
    return np.interp(steps, known, seen)


def main(_: list[str]) -> None:
  """Reads the runs, draws them and writes the picture."""
  runs = [read_run(workdir) for workdir in _WORKDIRS.value]
  save(draw(runs, _X.value), _OUTPUT.value)


def read_run(workdir: str) -> Run:
  """Reads a run's metrics and the size of its batches.

  Raises:
    InputError: the folder holds no run, or no metrics yet, or a line is damaged.
  """
  config = load_config(workdir)
  path = Path(workdir) / FILE
  lines: dict[str, list[dict]] = {}
  texts = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
  for number, text in enumerate(texts, 1):
    if not text.endswith("\n"):
      break  # the run is writing it
    try:
      line = json.loads(text)
      lines.setdefault(line["split"], []).append(line)
    except (json.JSONDecodeError, KeyError, TypeError) as error:
      raise InputError(f"{path}:{number} is no line of metrics ({error!r}): remove it.") from error
  if not lines:
    raise InputError(f"{path} holds no metrics yet: the first line comes after train.log_every steps.")
  name = os.path.basename(os.path.abspath(workdir))
  return Run(name, lines, config.train.batch_size * config.data.max_length)


def draw(runs: list[Run], x: str):
  """A figure with one panel for each of `METRICS` that the runs have, and one colour for each run."""
  try:
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter, StrMethodFormatter
  except ImportError as error:
    raise InputError("plot_metrics.py needs matplotlib: pip install -e '.[plot]'.") from error
  metrics = [m for m in METRICS if any(run.curve(split, m, x)[0].size for run in runs for split in run.lines)]
  if "mlm_loss" in metrics and "loss" in metrics:
    metrics.remove("loss")  # of pretraining the sum of two, which are told apart
  if not metrics:
    raise InputError(f"The runs have none of the metrics that are drawn: {', '.join(METRICS)}.")
  figure = Figure(figsize=(5.2 * len(metrics), 3.6), layout="constrained")
  for axes, metric in zip(figure.subplots(1, len(metrics), squeeze=False)[0], metrics):
    for number, run in enumerate(runs):
      draw_run(axes, run, metric, x, colour=f"C{number}", prefix=f"{run.name}, " if len(runs) > 1 else "")
    draw_baselines(axes, runs, metric)
    axes.set(xlabel=LABELS[x], ylabel=METRICS[metric])
    axes.set_xlim(left=0)
    axes.xaxis.set_major_formatter(EngFormatter(sep="") if x == "tokens" else StrMethodFormatter("{x:,.0f}"))
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize="small")
  if len(runs) == 1:
    figure.suptitle(runs[0].name)
  return figure


def draw_run(axes, run: Run, metric: str, x: str, *, colour: str, prefix: str) -> None:
  """The curves of one run: thin for training, with points for evaluation."""
  for split in run.lines:
    is_train = split == "train"
    style = dict(linewidth=0.8, alpha=0.6) if is_train else dict(linewidth=1.8, marker="o", markersize=4)
    points = run.curve(split, metric, x)
    if points[0].size:
      axes.plot(*points, color=colour, label=prefix + split, zorder=2 if is_train else 3, **style)


def draw_baselines(axes, runs: list[Run], metric: str) -> None:
  """What is reached without reading the context."""
  if metric == "pair_accuracy":
    axes.axhline(0.5, color="0.45", linestyle="--", linewidth=1, label="chance")
    return
  lines = (line for run in runs for split in run.lines for line in run.lines[split])
  values = {round(line["unigram_loss"], 2) for line in lines if "unigram_loss" in line}
  for value in sorted(values):
    axes.axhline(value, color="0.45", linestyle="--", linewidth=1, label=f"unigram baseline, {value:.2f}")


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
