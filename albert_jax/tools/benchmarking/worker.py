"""The process of one job: python -m albert_jax.tools.benchmarking.worker JOB.json RESULT.json."""

import json
import sys
from pathlib import Path

from albert_jax.errors import InputError
from albert_jax.tools.benchmarking import job as jobs
from albert_jax.tools.benchmarking.timing import limit_threads


def main(order: str, result: str) -> None:
  """Does the job; the result holds `error` where the user has made a mistake."""
  job = jobs.load(order)
  threads = limit_threads(job.threads)  # before any library counts the cores
  try:
    if job.contender == jobs.OURS:
      from albert_jax.tools.benchmarking import ours as contender
    else:
      from albert_jax.tools.benchmarking import peers_transformers as contender
    found = {"threads": threads, **contender.ACTIONS[job.action](job)}
  except InputError as error:
    found = {"error": str(error)}
  Path(result).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
  main(*sys.argv[1:])
