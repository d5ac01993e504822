"""The whole benchmark: prepare, check the gates, let the contenders run in turn, take the step apart."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from albert_jax.errors import InputError, unknown
from albert_jax.tools.benchmarking import job as jobs
from albert_jax.tools.benchmarking.job import OURS, PEERS, Job
from albert_jax.tools.benchmarking.timing import percentiles
from albert_jax.tools.benchmarking.weights import check_gates

Found = dict[str, Any]
Say = Callable[[str], None]


def race(job: Job, peers: Sequence[str], *, repeats: int, say: Say) -> Found:
  """Measures this project, and peers beside it.

  Args:
    job: of ours, with an empty folder; contender and action do not matter.
    peers: names of `PEERS`.
    repeats: rounds; in each of them every contender runs once, in a fresh process.
    say: is told what happens.

  Returns:
    `facts` about model and batches, `gates` by peer, `contenders` with their runs and medians, `ratios` by peer, and
    `parts` of our step.

  Raises:
    InputError: a name is unknown, a contender failed or computes something else than ours.
  """
  for name in peers:
    if name not in PEERS:
      raise unknown("peer", name, PEERS)

  def do(contender: str, action: str, **more) -> Found:
    return jobs.run(dataclasses.replace(job, contender=contender, action=action, **more), say)

  say("making batches")
  facts = do(OURS, "prepare")
  if peers and math.prod(facts["mesh"].values()) > 1:
    raise InputError(
      f"Peers run on one device, ours on {facts['mesh']}: show one (CUDA_VISIBLE_DEVICES=0), or give no --peers."
    )
  gates = _gates(job, peers, do, say) if peers else {}
  runs: dict[str, list[Found]] = {name: [] for name in (OURS, *peers)}
  for number in range(repeats):
    for name in runs:
      runs[name].append(do(name, "time"))
      say(f"round {number + 1} of {repeats}, {name}: {_rate(runs[name][-1]):,.0f} tokens/s")
  if repeats == 1:  # a second start, to see the compilation cache at work
    runs[OURS].append(do(OURS, "time", steps=1, warmup=1))
  facts["peak_flops"] = runs[OURS][0].pop("peak_flops")
  contenders = {name: _summary(of, facts, repeats) for name, of in runs.items()}
  ratios = {name: _ratios(contenders[OURS], contenders[name]) for name in peers}
  say("taking the step apart")
  parts = do(OURS, "parts")
  return {"facts": facts, "gates": gates, "contenders": contenders, "ratios": ratios, "parts": parts}


def _gates(job: Job, peers: Sequence[str], do: Callable[..., Found], say: Say) -> Found:
  do(OURS, "gate")
  ours = dataclasses.replace(job, contender=OURS).gradient_file
  gates = {}
  for name in peers:
    do(name, "gate")
    theirs = dataclasses.replace(job, contender=name).gradient_file
    gates[name] = check_gates(ours, theirs, name)
    theirs.unlink()
    say(
      "gate of {}: loss within {loss_difference:.1e}, gradient cosine {gradient_cosine:.7f}".format(name, **gates[name])
    )
  return gates


def _rate(run: Found) -> float:
  """Real tokens a second."""
  return run["tokens"] / math.fsum(run["seconds"])


def _summary(runs: list[Found], facts: Found, repeats: int) -> Found:
  """Medians over the runs of a contender. The first run compiled with an empty cache, the others found the program."""
  timed = runs[:repeats]
  seconds = np.concatenate([run["seconds"] for run in timed])
  steps = percentiles(seconds)
  positions = timed[0]["positions"] * len(seconds) / float(seconds.sum())
  flops = positions * facts["flops_per_token"]
  first = timed[0]
  summary = {
    "tokens_per_second": float(np.median([_rate(run) for run in timed])),
    "tokens_per_second_by_round": [_rate(run) for run in timed],
    "positions_per_second": positions,
    "step_p50_seconds": steps["p50"],
    "step_p95_seconds": steps["p95"],
    "processor_seconds_per_step": float(np.median([run["processor_seconds"] / len(run["seconds"]) for run in timed])),
    "model_flops_per_second": flops,
    "mfu": flops / facts["peak_flops"] if facts["peak_flops"] else None,
    "gemm_flops_per_second": float(np.median([run["gemm_flops"] for run in timed])),
    "first_step_seconds_cold": runs[0]["first_step_seconds"],
    "first_step_seconds_warm": float(np.median([run["first_step_seconds"] for run in runs[1:]])) if runs[1:] else None,
    "memory": {kind: max(run["memory"][kind] for run in timed) for kind in first["memory"]},
    **{key: first[key] for key in ("device", "versions", "threads")},
  }
  summary["gemm_fraction"] = flops / summary["gemm_flops_per_second"]
  if "compile_seconds" in first:
    summary["compile_seconds_cold"] = first["compile_seconds"]
    summary["compile_seconds_warm"] = float(np.median([run["compile_seconds"] for run in runs[1:]]))
  return summary


def _ratios(ours: Found, theirs: Found) -> Found:
  """Our tokens a second over theirs, round by round; the lowest is what may be claimed."""
  rounds = [a / b for a, b in zip(ours["tokens_per_second_by_round"], theirs["tokens_per_second_by_round"])]
  return {"by_round": rounds, "lowest": min(rounds), "median": float(np.median(rounds))}
