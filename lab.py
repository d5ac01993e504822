"""Runs a lab: many paired trainings from one spec, their statistics, and one page that answers the question.

python lab.py --lab=labs/NAME.py[:arguments] [--workdir=DIR] [--set=KEY=VALUE …] [--dry_run] [--budget=10m]
python lab.py --workdir=DIR --report

The same command goes on where it left off. Several of them, on any machines that share the folder, share the work.
docs/lab.md has the whole story.
"""

import jax
from absl import flags

from albert_jax import cli
from albert_jax.errors import InputError
from albert_jax.lab import spec
from albert_jax.lab.claims import Claims
from albert_jax.lab.command import parse_duration, parse_only, plan_text
from albert_jax.lab.report import report
from albert_jax.lab.session import Budget, Session
from albert_jax.messages import say
from albert_jax.runtime import distributed, preemption
from albert_jax.runtime.compilation import keep_compiled
from albert_jax.runtime.memory import reuse_memory

_LAB = flags.DEFINE_string("lab", None, "A file of labs/, with arguments after a colon.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the lab; runs/labs/NAME by default.")
_SET = flags.DEFINE_multi_string("set", [], "KEY=VALUE of the base config, such as data.source=files:TEXT.")
_DRY_RUN = flags.DEFINE_bool("dry_run", False, "Print every run and what it costs; train nothing.")
_REPORT = flags.DEFINE_bool("report", False, "Write the report from the runs that have ended; train nothing.")
_BUDGET = flags.DEFINE_string("budget", "", "Stop after this time, such as 10m; what is being trained is saved.")
_ONLY = flags.DEFINE_list("only", [], "Work on some runs only: arm=NAME, seed=N.")


def main(_: list[str]) -> None:
  """Does what the flags ask for."""
  if _REPORT.value and not _LAB.value:
    if not _WORKDIR.value:
      raise InputError("--report needs --workdir, the folder of a lab.")
    say(f"report: {report(_WORKDIR.value)}")
    return
  if not _LAB.value:
    raise InputError("--lab is missing. For example: lab.py --lab=labs/sharing_table.py:test")
  lab = spec.load(_LAB.value, _overrides())
  workdir = _WORKDIR.value or f"runs/labs/{lab.name}"
  if _REPORT.value:
    say(f"report: {report(workdir)}")
    return
  budget, only = parse_duration(_BUDGET.value), parse_only(_ONLY.value)
  reuse_memory()
  keep_compiled(lab.base.data.cache_dir)
  jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)  # the runs of an arm have the same programs
  session = Session(lab, workdir, **only)
  if _DRY_RUN.value:
    print(plan_text(session))
    return
  _work(session, budget)
  say(f"report: {report(workdir)}")


def _work(session: Session, seconds: float) -> None:
  with preemption.handled(distributed.peers()) as notices:
    budget = Budget(seconds, notices)
    try:
      session.work(Claims(), budget, [f"--lab={_LAB.value}", *(f"--set={item}" for item in _SET.value)])
    except SystemExit:
      if not budget.is_over:
        raise
      say("the budget is used up: the same command goes on from here")


def _overrides() -> dict[str, str]:
  pairs = [item.partition("=") for item in _SET.value]
  for key, has_value, _ in pairs:
    if not has_value:
      raise InputError(f"--set={key}: write --set=KEY=VALUE.")
  return {key: value for key, _, value in pairs}


if __name__ == "__main__":
  cli.run(main, distributed.exit_process)
