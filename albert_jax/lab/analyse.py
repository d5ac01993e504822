"""Runs the analyses that a spec asks for on the final parameters of a run, and keeps what they find as JSON."""

import json
from collections.abc import Collection
from pathlib import Path

from albert_jax.analysis.report import conflict_report, depth_report, growth_report
from albert_jax.checkpoints.manager import Checkpoints
from albert_jax.config import load_config
from albert_jax.errors import unknown
from albert_jax.files import new_file
from albert_jax.interop.pretrained import open_pretrained
from albert_jax.lab.claims import Claims
from albert_jax.lab.cost import open_program
from albert_jax.lab.plan import Run
from albert_jax.lab.runner import FINISHED, status
from albert_jax.lab.spec import Lab
from albert_jax.messages import say
from albert_jax.tasks import resolve
from albert_jax.training.loop import new_state
from albert_jax.training.program import Program
from albert_jax.training.task import Rows

FOLDER = "analysis"
BATCHES = 16


def analyse(lab: Lab, run: Run, workdir: str, claims: Claims) -> None:
  """Writes `analysis/ARM/seed=N.json`, unless it is there, the run did not end well, or another worker is at it."""
  folder, source = Path(workdir) / FOLDER / run.arm, Path(workdir) / run.folder
  path = folder / f"seed={run.seed}.json"
  if path.exists() or status(source) != FINISHED:
    return
  with claims.hold(folder) as is_mine:
    if is_mine and not path.exists():
      say(f"analysis of {run.folder}: {', '.join(lab.analyses)}")
      record = analyses(lab.analyses, str(source))
      with new_file(path) as temporary:
        temporary.write_text(json.dumps(record) + "\n", encoding="utf-8")


def analyses(names: Collection[str], workdir: str) -> dict[str, dict]:
  """The records of some analyses of the newest checkpoint of a run.

  Raises:
    InputError: there is no such analysis, or no checkpoint.
  """
  config = load_config(workdir)
  program = open_program(config)
  params = Checkpoints(workdir, read_only=True).restore_params(program.state.params)
  data = program.task.load_data()
  valid = next(iter(data.evaluations.values()))
  makers = {
    "depth": lambda: depth_report(program.task.encoder, params, _batches(valid, config.eval.batch_size)),
    "conflict": lambda: conflict_report(config, params, _batches(data.train, config.train.batch_size)),
    "growth": lambda: growth_report(first_params(program), params, program.task.param_axes()),
  }
  for name in names:
    if name not in makers:
      raise unknown("analysis", name, makers)
  return {name: makers[name]() for name in names}


def first_params(program: Program) -> dict:
  """The parameters that a run began with: new ones, or those of its start."""
  config = program.config
  start = resolve(config, open_pretrained(config.init_from)) if config.init_from else None
  return new_state(program, start, lambda _: None).params


def _batches(rows: Rows, size: int) -> list[dict]:
  """The first batches; all rows where there are few."""
  count = min(BATCHES, max(1, rows.num_rows // size))
  return [rows.batch(number, min(size, rows.num_rows), 0, min(size, rows.num_rows)) for number in range(count)]
