"""The curves of single runs, read from their workdirs."""

import dataclasses
import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from albert_jax.config import load_config
from albert_jax.errors import InputError
from albert_jax.plots import style
from albert_jax.training.log.metrics import FILE, records

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
# By metric: the column of what is reached without the context, its label and the format of its value.
BASELINES = {
  "mlm_loss": ("unigram_loss", "unigram baseline", ".2f"),
  "pair_accuracy": ("pair_surface_accuracy", "surface rule", ".1%"),
}
LABELS = {"step": "step", "tokens": "tokens, without padding"}


@dataclasses.dataclass(frozen=True)
class Run:
  """The metrics of a run: `lines[split]` holds its lines of metrics.jsonl, in order."""

  name: str
  lines: dict[str, list[dict]]
  positions_per_step: int

  def curve(self, split: str, metric: str, x: str) -> tuple[np.ndarray, np.ndarray]:
    """The points of one metric; empty where the split does not have it."""
    lines = [line for line in self.lines.get(split, []) if metric in line]
    steps = np.array([line["step"] for line in lines], float)
    return (steps if x == "step" else self.tokens(steps)), np.array([line[metric] for line in lines], float)

  def tokens(self, steps: np.ndarray) -> np.ndarray:
    """Tokens trained on by each step, padding not counted."""
    train = self.lines.get("train", [])
    known = np.array([0, *(line["step"] for line in train)], float)
    fill = np.array([line.get("fill", 0) for line in train], float)
    seen = np.append(0, np.cumsum(np.diff(known) * fill)) * self.positions_per_step
    return np.interp(steps, known, seen)


def read_run(workdir: str) -> Run:
  """Reads a run's metrics and the size of its batches.

  Raises:
    InputError: the folder holds no run, or no metrics yet, or a line is damaged.
  """
  config = load_config(workdir)
  path = Path(workdir) / FILE
  lines: dict[str, list[dict]] = {}
  for line in records(path):
    lines.setdefault(line["split"], []).append(line)
  if not lines:
    raise InputError(f"{path} holds no metrics yet: the first line comes after train.log_every steps.")
  name = os.path.basename(os.path.abspath(workdir))
  return Run(name, lines, config.train.batch_size * config.data.max_length)


def group_by_seed(workdirs: Sequence[str], runs: Sequence[Run]) -> dict[str, list[Run]]:
  """Runs that differ in nothing but the seed that their path names: `ARM/seed=0`, `NAME/seed_1`."""
  paths = [re.sub(r"/seed[=_]\d+$", "", os.path.abspath(workdir)) for workdir in workdirs]
  common = os.path.commonpath(paths) if len(set(paths)) > 1 else os.path.dirname(paths[0])
  groups: dict[str, list[Run]] = {}
  for path, run in zip(paths, runs):
    groups.setdefault(os.path.relpath(path, common), []).append(run)
  return groups


def draw(groups: dict[str, list[Run]], x: str):
  """A figure with one panel for each of `METRICS` that the runs have, and one colour for each group of runs."""
  runs = [run for group in groups.values() for run in group]
  metrics = [m for m in METRICS if any(run.curve(split, m, x)[0].size for run in runs for split in run.lines)]
  if "mlm_loss" in metrics and "loss" in metrics:
    metrics.remove("loss")  # of pretraining the sum of two, which are told apart
  if not metrics:
    raise InputError(f"The runs have none of the metrics that are drawn: {', '.join(METRICS)}.")
  figure = style.new_figure(5.2 * len(metrics), 3.6)
  for axes, metric in zip(figure.subplots(1, len(metrics), squeeze=False)[0], metrics):
    for number, (name, group) in enumerate(groups.items()):
      draw_group(axes, group, metric, x, colour=style.colour(number), prefix=f"{name}, " if len(groups) > 1 else "")
    draw_baselines(axes, runs, metric)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_formatter(_formatter(x))
    style.finish(axes, xlabel=LABELS[x], ylabel=METRICS[metric])
  if len(groups) == 1:
    figure.suptitle(next(iter(groups)))
  return figure


def draw_group(axes, group: Sequence[Run], metric: str, x: str, *, colour: str, prefix: str) -> None:
  """The curves of one run, thin for training and with points for evaluation; of several, their mean and range."""
  for split in dict.fromkeys(split for run in group for split in run.lines):
    curves = [points for run in group if (points := run.curve(split, metric, x))[0].size]
    if len(curves) > 1:
      steps = curves[0][0]
      values = np.array([np.interp(steps, *points) for points in curves])
      style.band(axes, steps, values.mean(0), values.min(0), values.max(0), colour=colour, label=prefix + split)
    elif curves:
      is_train = split == "train"
      looks = dict(linewidth=0.8, alpha=0.6) if is_train else dict(linewidth=1.8, marker="o", markersize=4)
      axes.plot(*curves[0], color=colour, label=prefix + split, zorder=2 if is_train else 3, **looks)


def draw_baselines(axes, runs: Sequence[Run], metric: str) -> None:
  """What is reached without the context (`BASELINES`), once for each value that the runs name."""
  if metric == "pair_accuracy":
    axes.axhline(0.5, color="0.7", linestyle=":", linewidth=1, label="chance")
  if metric not in BASELINES:
    return
  column, label, spec = BASELINES[metric]
  lines = (line for run in runs for split in run.lines for line in run.lines[split])
  levels = {f"{label}, {line[column]:{spec}}": line[column] for line in lines if column in line}
  for text, value in sorted(levels.items()):
    axes.axhline(value, color="0.45", linestyle="--", linewidth=1, label=text)


def _formatter(x: str):
  from matplotlib.ticker import EngFormatter, StrMethodFormatter

  return EngFormatter(sep="") if x == "tokens" else StrMethodFormatter("{x:,.0f}")
