import json
from pathlib import Path

import pytest

from albert_jax.errors import Diverged, InputError
from albert_jax.lab import runner
from albert_jax.lab.claims import Claims
from albert_jax.lab.command import parse_duration, parse_only, plan_text
from albert_jax.lab.report import report
from albert_jax.lab.runner import read_done
from albert_jax.lab.session import Budget, Session
from albert_jax.runtime.supervisor import NoNotices
from albert_jax.training.loop import train
from tests.builders import override
from tests.lab.fake import make_lab

WILD = 123.0  # a rate at which the fake training diverges


@pytest.fixture
def lab(tiny_config):
  """Two arms, one of which diverges, with one seed each."""
  override(tiny_config, {"train.steps": 2, "eval.every": 1, "train.log_every": 1})
  found = make_lab(seeds=1, gate=0.0, analyses=("depth",))
  found.base = tiny_config
  found.arms = {"all": {}, "wild": {"optimizer.learning_rate": WILD}}
  found.baseline = "all"
  return found


def test_a_lab_from_the_spec_to_the_page(lab, tmp_path, monkeypatch):
  def train_or_diverge(program, *arguments, **more):
    if program.config.optimizer.learning_rate == WILD:
      raise Diverged("10 consecutive steps were skipped. Look at one of them.")
    return train(program, *arguments, **more)

  monkeypatch.setattr(runner, "train", train_or_diverge)
  session = Session(lab, str(tmp_path))
  text = plan_text(session)
  assert [run["folder"] for run in json.loads(text.splitlines()[-1])["runs"]] == ["runs/all/seed=0", "runs/wild/seed=0"]
  assert not list(tmp_path.iterdir())  # a dry run leaves nothing
  session.work(Claims(), Budget(0, NoNotices()))
  done = read_done(tmp_path / "runs" / "all" / "seed=0")
  assert done["status"] == "finished"
  assert done["temporary_bytes"] > 0
  assert read_done(tmp_path / "runs" / "wild" / "seed=0")["status"] == "diverged"
  page = report(str(tmp_path))
  results = json.loads((tmp_path / "report" / "results.json").read_text())
  assert len(results["analyses"]["all"]["depth"]["mlm_loss"]) == lab.base.model.layers + 1
  assert "depth (0: embeddings)" in page.read_text()
  before = {path: path.stat().st_mtime_ns for path in Path(tmp_path / "runs").rglob("*.json")}
  Session(lab, str(tmp_path)).work(Claims(), Budget(0, NoNotices()))
  assert {path: path.stat().st_mtime_ns for path in Path(tmp_path / "runs").rglob("*.json")} == before


def test_the_budget_ends_the_work_and_the_next_goes_on(lab, tmp_path):
  lab.arms = {"all": {}}
  lab.analyses = ()
  budget = Budget(1e-9, NoNotices())
  with pytest.raises(SystemExit) as error:
    Session(lab, str(tmp_path)).work(Claims(), budget)
  assert (error.value.code, budget.is_over) == (75, True)
  assert not (tmp_path / "runs").exists()


def test_durations_and_choices():
  assert [parse_duration(text) for text in ("", "90", "90s", "10m", "1.5h")] == [0, 90, 90, 600, 5400]
  for text in ("-1", "ten", "infh"):
    with pytest.raises(InputError, match="budget"):
      parse_duration(text)
  assert parse_only(["arm=all", "seed=0", "arm=none"]) == {"arms": ("all", "none"), "seeds": (0,)}
  for text in ("arm", "arm=", "seed=x", "size=3"):
    with pytest.raises(InputError, match=text):
      parse_only([text])


def test_an_unknown_arm_is_named(lab, tmp_path):
  with pytest.raises(InputError, match="wild"):
    Session(lab, str(tmp_path), arms=("wlid",))
