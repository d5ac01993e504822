from pathlib import Path

import pytest

from albert_jax.lab import plan, spec
from albert_jax.lab.spec import TUNING_SEED

ROOT = Path(__file__).parents[2]
LABS = sorted({path.stem for path in (ROOT / "labs").glob("*.py")} - {"__init__", "common"})


@pytest.fixture(autouse=True)
def in_the_root(monkeypatch):
  monkeypatch.chdir(ROOT)


@pytest.mark.parametrize("name", LABS)
def test_every_lab_fits_together(name):
  lab = spec.load(f"labs/{name}.py")
  assert lab.name == name
  assert lab.question.endswith("?")
  small = spec.load(f"labs/{name}.py:test")
  origins = {origin for name in small.arms for origin in small.origins(name)}
  assert (len({*small.arms} - origins), small.seeds, [len(values) for values in small.tune.values()]) == (2, 2, [2])
  arms = plan.make_arms(small)
  assert max(arm.cost.tokens for arm in arms.values()) < 10_000
  assert max(plan.reported(lab, lab.baseline, ()), key=lambda run: run.seed).seed < TUNING_SEED


def test_the_arms_of_the_sharing_table_cost_what_albert_says():
  lab = spec.load("labs/sharing_table.py:size=small")
  arms = plan.make_arms(lab)
  sizes = {name: arm.cost.body for name, arm in arms.items()}
  assert sizes["none"] == 4 * sizes["all"]
  assert sizes["attn"] + sizes["ffn"] == sizes["all"] + sizes["none"]
  assert len({arms[name].cost.flops for name in ("all", "attn", "ffn", "none")}) == 1
  assert sizes["none128"] < 1.01 * sizes["all"]  # as many parameters, without sharing
  assert arms["none128"].cost.flops < arms["all"].cost.flops / 2


def test_surgery_takes_as_many_steps_as_training_from_scratch():
  lab = spec.load("labs/surgery.py")
  arms = plan.make_arms(lab)
  steps = {name: sum(arms[stage].cost.steps for stage in (name, *lab.origins(name))) for name in arms}
  whole = {name: count for name, count in steps.items() if not name.endswith("_stage")}
  assert max(whole.values()) - min(whole.values()) <= 2
  assert plan.to_record(lab, arms)["untied"]["flops"] == pytest.approx(arms["none"].cost.flops, rel=0.002)


def test_a_rate_takes_the_place_of_the_grid():
  lab = spec.load("labs/sharing_table.py:rate=2e-3")
  assert not lab.tune
  assert lab.base.optimizer.learning_rate == 2e-3
