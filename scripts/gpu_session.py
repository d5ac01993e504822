"""Measures this project on one card, in the few minutes that one may have it: one command, most valuable first.

    python scripts/gpu_session.py --output=h100.json                    # nine minutes
    python scripts/gpu_session.py --output=rehearsal.json --small       # the same with tiny models, on a CPU, too
    python scripts/gpu_session.py --output=h100.json --report           # the table in Markdown

Each part runs in a process of its own, is ended at its limit, and stands in the file as soon as it has ended: a session
that is cut loses only the part that was running. The same command goes on with the parts that are not there yet.
Needs no network and nothing but the base install; the peer needs torch and transformers, and is left out without.
"""

import datetime
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from absl import flags

from albert_jax import cli
from albert_jax.errors import InputError
from albert_jax.tools.benchmarking.job import write_json
from albert_jax.tools.benchmarking.report import machine
from albert_jax.tools.card.parts import PARTS
from albert_jax.tools.card.report import report

_OUTPUT = flags.DEFINE_string("output", None, "The JSON file of the session.")
_SECONDS = flags.DEFINE_integer("seconds", 530, "After which no part is begun, and the running one is ended.", 1)
_SMALL = flags.DEFINE_bool("small", False, "Rehearse with tiny models.")
_REPORT = flags.DEFINE_bool("report", False, "Print the table of an earlier session; measure nothing.")
_PART = flags.DEFINE_string("part", None, "Do one part in this process, and print its JSON: for the session's own use.")

_SLOW = 6  # the limits of a rehearsal, which may have a busy CPU, in those of a card


def main(_: list[str]) -> None:
  """Runs the parts that are not there yet."""
  if _PART.value is not None:
    (part,) = (part for part in PARTS if part.name == _PART.value)
    print(json.dumps(part.measure(_SMALL.value)))
    return
  if not _OUTPUT.value:
    raise InputError("Give the file of the session, as in --output=h100.json.")
  path = Path(_OUTPUT.value)
  session = json.loads(path.read_text(encoding="utf-8")) if path.exists() else _new_session()
  deadline = time.monotonic() + _SECONDS.value
  for part in () if _REPORT.value else PARTS:
    left = deadline - time.monotonic()
    if part.name in session["parts"] or left < 10:
      continue
    limit = min(part.seconds * (_SLOW if _SMALL.value else 1), left)
    print(f"{part.name}: at most {limit:.0f} s", file=sys.stderr, flush=True)
    session["parts"][part.name] = _run(part.name, limit)
    write_json(path, session)
  print(report(session))


def _new_session() -> dict:
  return {"date": datetime.date.today().isoformat(), "small": _SMALL.value, "machine": machine(), "parts": {}}


def _run(name: str, seconds: float) -> dict:
  """The part's result, or its `error`; `seconds` that it took."""
  command = [sys.executable, __file__, f"--part={name}", f"--small={_SMALL.value}"]
  start = time.monotonic()
  with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
    process = subprocess.Popen(command, stdout=out, stderr=err, start_new_session=True)
    try:
      process.wait(seconds)
      error = None
    except subprocess.TimeoutExpired:
      os.killpg(process.pid, signal.SIGKILL)
      process.wait()
      error = f"ended after {seconds:.0f} s"
    for file in (out, err):
      file.seek(0)
    lines, said = out.read().splitlines(), err.read()
  if error is None and process.returncode:
    error = said.strip()[-600:]
  print(error or "done", file=sys.stderr, flush=True)
  found = {"error": error} if error else json.loads(lines[-1])
  return {"seconds": round(time.monotonic() - start, 1), **found}


if __name__ == "__main__":
  cli.run(main)
