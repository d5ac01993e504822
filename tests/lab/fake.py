"""Runs of a lab without training: files as a run leaves them, with losses by formula."""

import json
import zlib
from pathlib import Path

import numpy as np

from albert_jax.lab.plan import Run
from albert_jax.lab.spec import Lab
from configs import albert_tiny

UNIGRAM = 5.25


def make_lab(**fields) -> Lab:
  """The sharing table on a tiny base."""
  lab = Lab("fake", albert_tiny.get_config("test"), "Which part may be shared?")
  lab.arms = {
    "all": {"model.sharing.attn": "all", "model.sharing.ffn": "all"},
    "attn": {"model.sharing.attn": "all", "model.sharing.ffn": "none"},
    "ffn": {"model.sharing.attn": "none", "model.sharing.ffn": "all"},
    "none": {"model.sharing.attn": "none", "model.sharing.ffn": "none"},
  }
  lab.baseline = "none"
  for name, value in fields.items():
    setattr(lab, name, value)
  lab.check()
  return lab


def write_run(workdir: Path, run: Run, *, loss: float, steps: int = 1000, status: str = "finished", noise=0.01) -> None:
  """A run that ends near a loss; what it ends at depends on arm, values and seed only."""
  folder = workdir / run.folder
  folder.mkdir(parents=True, exist_ok=True)
  rng = np.random.default_rng(zlib.crc32(run.folder.encode()))
  shared = np.random.default_rng(run.seed).normal(0, 2 * noise)
  end = loss + shared + rng.normal(0, noise)
  lines = []
  for step in range(steps // 10, steps + 1, steps // 10):
    value = end + 2.2 * np.exp(-5 * step / steps) + rng.normal(0, noise / 4)
    train = {"step": step, "split": "train", "mlm_loss": value, "fill": 0.9, "tokens_per_second": 20000.0 + step}
    lines.append(train)
    valid = {"step": step, "split": "valid", "mlm_loss": value, "mlm_accuracy": 0.3, "unigram_loss": UNIGRAM}
    lines.append(valid)
  (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
  (folder / "fingerprints.json").write_text(json.dumps({"data": "text 1234", "tokenizer": "t"}))
  done = {
    "status": status,
    "steps": steps,
    "detail": "",
    "seconds": 60.0,
    "device": "1 × CPU",
    "jax": "0",
    "commit": "c",
  }
  done["temporary_bytes"] = 10_000_000
  (folder / "DONE.json").write_text(json.dumps(done))


def losses(run: Run) -> float:
  """A loss for the sharing table: `all` is worst, `attn` costs almost nothing; the best rate is 1e-3."""
  rate = dict(run.point).get("optimizer.learning_rate", 1e-3)
  return {"all": 3.62, "attn": 3.415, "ffn": 3.55, "none": 3.41}[run.arm] + 0.1 * np.log2(rate / 1e-3) ** 2
