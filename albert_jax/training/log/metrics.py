"""Metrics: from terms on the devices to a file, dashboards and a line that a person watches.

`metrics.jsonl` holds one object a line: `step`, `split` ("train" or an evaluation split) and the metrics by name.
"""

import json
import math
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tqdm

from albert_jax.errors import InputError
from albert_jax.files import new_file, read_bytes, require_file
from albert_jax.json_files import parse_json
from albert_jax.messages import say
from albert_jax.training.log.dashboards import Dashboards
from albert_jax.training.task import Terms

FILE = "metrics.jsonl"
_RECORD = {"step": int, "split": str, str: (float, None)}
PEAK_FLOPS = {  # dense bfloat16 FLOP/s of a chip, from the vendors' data sheets, by JAX's device_kind
  "NVIDIA A100": 312e12,
  "NVIDIA H100 80GB HBM3": 989e12,
  "NVIDIA H100 PCIe": 756e12,
  "NVIDIA H200": 989e12,
  "NVIDIA L4": 121e12,
  "TPU v4": 275e12,
  "TPU v5 lite": 197e12,
  "TPU v5e": 197e12,
  "TPU v5": 459e12,
  "TPU v5p": 459e12,
  "TPU v6 lite": 918e12,
  "TPU v6e": 918e12,
}


def peak_flops(device: jax.Device) -> float | None:
  """A device's peak in bfloat16 FLOP/s, or None where it is not known (every CPU)."""
  names = [name for name in PEAK_FLOPS if device.device_kind.startswith(name)]
  return PEAK_FLOPS[max(names, key=len)] if names else None


class MetricAccumulator:
  """Adds up terms that are on the host."""

  def __init__(self):
    self._sums: dict[str, tuple[float, float]] = {}

  def add(self, terms: Terms) -> None:
    """Takes the terms of one batch."""
    for name, pair in terms.items():
      old = self._sums.get(name, (0.0, 0.0))
      self._sums[name] = tuple(np.float64(a) + np.float64(b) for a, b in zip(old, pair))

  def means(self) -> dict[str, float]:
    """Σ sums / Σ weights of each term that has any weight."""
    return {name: total / weight for name, (total, weight) in self._sums.items() if weight}

  def total(self, name: str) -> float:
    """Σ sums of a term."""
    return self._sums.get(name, (0.0, 0.0))[0]


class Writer:
  """Writes metrics to a workdir and to dashboards, from the first process only.

  Args:
    workdir: where `metrics.jsonl` goes.
    first_step: the step that the run starts from: what an earlier, killed run wrote beyond it is dropped, since it
      comes again.
    log_to: names of dashboards, with commas.
    config: the run's by dotted key, for the dashboards.

  Raises:
    InputError: a dashboard is unknown or not installed, or `metrics.jsonl` is damaged.
  """

  def __init__(self, workdir: str, *, first_step: int, log_to: str = "", config: Mapping[str, Any] | None = None):
    self._active = jax.process_index() == 0
    if not self._active:
      return
    self._path = Path(workdir) / FILE
    if self._path.exists():
      require_file(self._path)
    _drop_after(self._path, first_step)
    self._file = self._path.open("a", encoding="utf-8")
    self._dashboards = Dashboards(log_to, workdir, first_step=first_step, config=config or {})

  def write(self, step: int, split: str, metrics: dict[str, float]) -> None:
    """Appends one line, and one point to each curve of the dashboards. What is not finite is null, and no point."""
    if not self._active:
      return
    metrics = without_nan(metrics)
    print(json.dumps({"step": step, "split": split, **metrics}), file=self._file, flush=True)
    self._dashboards.add(step, split, metrics)

  def close(self) -> None:
    """Flushes and closes the files."""
    if self._active:
      self._file.close()
      self._dashboards.close()


def logged_splits(workdir: str, step: int) -> set[str]:
  """The splits that `metrics.jsonl` has a line of for a step."""
  path = Path(workdir) / FILE
  return {record["split"] for record in records(path) if record["step"] == step}


def without_nan(metrics: dict[str, float]) -> dict[str, float | None]:
  """The same, with None for what is not finite: JSON has no word for it."""
  return {name: value if math.isfinite(value) else None for name, value in metrics.items()}


class Progress:
  """A bar on a terminal, plain lines elsewhere, nothing but on the first process.

  Args:
    first_step: the step that the run starts from.
    steps: the step that it ends at.
  """

  def __init__(self, first_step: int, steps: int):
    self._first, self._steps, self._start = first_step, steps, time.monotonic()
    self._silent = jax.process_index() != 0
    self._bar = None
    if sys.stderr.isatty() and not self._silent:
      self._bar = tqdm.tqdm(initial=first_step, total=steps, unit="step", dynamic_ncols=True, smoothing=0.05)

  def step(self) -> None:
    """One step has been dispatched."""
    if self._bar is not None:
      self._bar.update()

  def show(self, step: int, metrics: dict[str, float]) -> None:
    """Shows the metrics of training."""
    if self._bar is not None:
      self._bar.set_postfix_str(summary(metrics))
    else:
      left = (time.monotonic() - self._start) / max(step - self._first, 1) * (self._steps - step)
      self.say(f"step {step}/{self._steps}  {summary(metrics)}  {tqdm.tqdm.format_interval(left)} left")

  def say(self, line: str) -> None:
    """Prints a line above the bar."""
    if not self._silent:
      say(line)

  def close(self) -> None:
    """Ends the bar."""
    if self._bar is not None:
      self._bar.close()


_SHORT = {
  "loss": "loss {:.3f}",
  "mlm_loss": "mlm {:.3f}",
  "unigram_loss": "(unigram {:.3f})",
  "mlm_perplexity": "perplexity {:.1f}",
  "mlm_accuracy": "acc {:.1%}",
  "pair_loss": "pair {:.3f}",
  "pair_accuracy": "acc {:.1%}",
  "pair_surface_accuracy": "(surface {:.1%})",
  "accuracy": "accuracy {:.1%}",
  "matthews": "matthews {:.3f}",
  "pearson": "pearson {:.3f}",
  "spearman": "spearman {:.3f}",
  "exact_match": "exact match {:.1f}%",  # of SQuAD, whose scores are percentages
  "exact": "exact match {:.1f}%",
  "f1": "f1 {:.3f}",
  "f1_macro": "macro f1 {:.3f}",
  "learning_rate": "lr {:.2e}",
  "tokens_per_second": "{:,.0f} tok/s",
  "mfu": "mfu {:.1%}",
}


def summary(metrics: dict[str, float]) -> str:
  """The metrics that a person wants to see, on one line."""
  return "  ".join(form.format(metrics[name]) for name, form in _SHORT.items() if name in metrics)


def _drop_after(path: Path, step: int) -> None:
  """Removes the lines of later steps, and a line that a kill cut in two."""
  if not path.exists():
    return
  kept = (json.dumps(record) + "\n" for record in records(path) if record["step"] <= step)
  with new_file(path) as temporary:
    temporary.write_text("".join(kept), encoding="utf-8")


def records(path: Path) -> Iterator[dict]:
  """The lines of a log. The last may have been cut by a kill, before its line break, and is then left out.

  Raises:
    InputError: another line is damaged.
  """
  content = read_bytes(path) if path.exists() else b""
  lines = content.splitlines()
  for number, line in enumerate(lines, 1):
    try:
      record = parse_json(line, _RECORD, where=f"{path}:{number}", hint="Mend or remove that line.")
    except InputError:
      if number == len(lines) and not content.endswith(b"\n"):
        return
      raise
    yield record
