"""The command line of a lab: its options and its messages."""

import json
import math
from collections.abc import Collection

from albert_jax.errors import InputError
from albert_jax.lab import plan, spec, timing
from albert_jax.lab.session import Session


def parse_duration(text: str) -> float:
  """Seconds of "90", "90s", "10m" or "2h"; "" is 0, no limit.

  Raises:
    InputError: it is none of these.
  """
  units = {"s": 1, "m": 60, "h": 3600}
  number, unit = (text[:-1], units[text[-1]]) if text[-1:] in units else (text, 1)
  try:
    seconds = float(number or 0) * unit
  except ValueError:
    seconds = -1
  if not 0 <= seconds < math.inf:
    raise InputError(f"--budget={text} is no duration: write 90s, 10m or 2h.")
  return seconds


def parse_only(items: Collection[str]) -> dict[str, tuple]:
  """The arms and seeds of "arm=all,arm=none,seed=0".

  Raises:
    InputError: something else is there.
  """
  arms, seeds = [], []
  for item in items:
    key, _, value = item.partition("=")
    if key == "arm" and value:
      arms.append(value)
    elif key == "seed" and value.isdecimal():
      seeds.append(int(value))
    else:
      raise InputError(f"--only={item}: write arm=NAME or seed=N, several with commas.")
  return {"arms": tuple(arms), "seeds": tuple(seeds)}


def plan_text(session: Session) -> str:
  """Every run that is planned, with what it costs; the last line is JSON. Allocates nothing, except to match times."""
  lab, arms = session.lab, session.arms()
  rate = timing.assumed_flops_per_second()
  header = ("arm", "body", "total", "FLOPs/token", "steps", "tokens", "match", "est. time")
  rows = [header]
  for name, arm in arms.items():
    cost = arm.cost
    hours = cost.flops / rate / 60
    per_token = f"{cost.flops_per_token:.4g}"
    counts = (f"{cost.body:,}", f"{cost.total:,}", per_token, f"{cost.steps:,}", f"{cost.tokens:,}")
    rows.append((name, *counts, f"{arm.match_error:+.3%}", f"{hours:.1f} min"))
  widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
  table = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths)) for row in rows]
  runs = planned_runs(session)
  per_run = {name: arm.cost.flops / rate for name, arm in arms.items()}
  left = sum(per_run[arm] for arm, _, _, is_done in runs if not is_done)
  lines = [f"  {folder}{'  done' if is_done else ''}" for _, folder, _, is_done in runs]
  record = {
    "arms": plan.to_record(lab, arms),
    "runs": [{"arm": arm, "folder": folder, "seed": seed, "done": done} for arm, folder, seed, done in runs],
    "assumed_flops_per_second": rate,
    "estimated_seconds": left,
  }
  return "\n".join(
    [
      f"{lab.name}: {lab.question}",
      f"match={lab.match}, baseline {lab.baseline}, metric {lab.metric}, margin {lab.margin:g}",
      *table,
      f"{len(runs)} runs, about {left / 60:,.0f} minutes at an assumed {rate:.2g} FLOP/s and without compilation",
      *lines,
      json.dumps(record),
    ]
  )


def planned_runs(session: Session) -> list[tuple[str, str, int, bool]]:
  """(arm, folder, seed, done) of every run; where the tuning is not done, the reported ones' values are not known."""
  lab = session.lab
  known = [(run.arm, run.folder, run.seed, session.is_done(run)) for run, _ in session.runs()]
  with_reports = {arm for arm, _, seed, _ in known if seed < spec.TUNING_SEED}
  later = [
    (name, f"{plan.RUNS}/{name}/(tuned)/seed={seed}", seed, False)
    for seed in range(lab.seeds)
    for name in lab.arms
    if name not in with_reports
  ]
  return known + later
