import json

import pytest

from albert_jax.errors import InputError
from albert_jax.tools.planning import search as module
from albert_jax.tools.planning.chips import CHIPS
from albert_jax.tools.planning.compiled import FULL, QUICK, Choice, TooLarge
from albert_jax.tools.planning.report import report
from albert_jax.tools.planning.search import search
from tests.builders import override

CHIPS_16 = [None] * 16


@pytest.fixture
def config():
  from configs import albert_base

  return override(albert_base.get_config(), {"train.batch_size": 128})


@pytest.fixture
def compiles(monkeypatch, make_step):
  """What is compiled, in order; nothing really is."""
  calls = []

  def compile_step(config, devices, memory, choice, effort):
    calls.append((choice, effort))
    return make_step(choice, effort, available=memory, **compile_step.more)

  compile_step.more = {}
  calls.append(compile_step)
  monkeypatch.setattr(module, "compile_step", compile_step)
  monkeypatch.setattr(module, "make_mesh", lambda sizes, devices: None)
  return calls


def test_the_fewest_microbatches_that_fit_and_then_the_fastest(config, compiles):
  plan = search(config, CHIPS_16, CHIPS["v5e"])
  # 40 GB in 16.9: three would do, of which 8 rows are no multiple.
  assert plan.best.choice == Choice(16, 1, 1, 4, "none")
  assert plan.best.effort == FULL
  assert [choice.microbatches for choice, _ in compiles[1:3]] == [1, 4]  # two is not tried
  tried = [outcome.choice for outcome in plan.tried]
  assert tried == [
    Choice(16, 1, 1, 4, "none"),
    Choice(16, 1, 1, 2, "dots"),
    Choice(16, 1, 1, 1, "full"),
    Choice(4, 4, 1, 4, "none"),
    Choice(8, 1, 2, 4, "none"),
  ]
  assert [effort for _, effort in compiles[1:]] == [QUICK] * (len(compiles) - 2) + [FULL]


def test_what_fits_as_it_is_computes_nothing_again(config, compiles):
  compiles[0].more = {"activations": 1e9}
  assert {outcome.choice.remat for outcome in search(config, CHIPS_16, CHIPS["v5e"]).tried} == {"none"}


def test_what_the_config_sets_is_kept(config, compiles):
  override(config, {"mesh.fsdp": 2, "mesh.tensor": 4, "model.remat": "full", "train.microbatches": 8})
  assert [outcome.choice for outcome in search(config, CHIPS_16, CHIPS["v5e"]).tried] == [Choice(2, 2, 4, 8, "full")]


def test_a_mesh_that_the_batch_does_not_fit_is_left_out(config, compiles):
  override(config, {"train.batch_size": 8})
  assert {outcome.choice.tensor for outcome in search(config, CHIPS_16, CHIPS["v5e"]).tried} == {2}
  override(config, {"train.batch_size": 4})
  with pytest.raises(InputError, match=r"batch_size 4 .* 16 chips: make it a multiple of 8"):
    search(config, CHIPS_16, CHIPS["v5e"])


def test_a_mesh_that_the_torus_does_not_have_is_left_out(config, compiles, monkeypatch):
  def make_mesh(sizes, devices):
    if sizes["tensor"] == 2:
      raise NotImplementedError

  monkeypatch.setattr(module, "make_mesh", make_mesh)
  assert {outcome.choice.tensor for outcome in search(config, CHIPS_16, CHIPS["v5e"]).tried} == {1}
  override(config, {"mesh.tensor": 2})
  with pytest.raises(InputError, match=r"mesh\.tensor 2 cannot be laid"):
    search(config, CHIPS_16, CHIPS["v5e"])


def test_nothing_fits(config, compiles):
  compiles[0].more = {"activations": 1e15}
  plan = search(config, CHIPS_16, CHIPS["v5e"])
  assert plan.best is None
  assert all(isinstance(outcome, TooLarge) for outcome in plan.tried)
  text = report(plan, "v5e:4x4", CHIPS["v5e"], 16)
  assert text.startswith("Nothing that was tried fits on v5e:4x4")
  assert json.loads(text.splitlines()[-1])["fits"] is False


def test_report(config, compiles):
  chip = CHIPS["v5e"]
  said = []
  plan = search(config, CHIPS_16, chip, said.append)
  lines = report(plan, "v5e:4x4", chip, 16).splitlines()
  facts = json.loads(lines[-1])
  assert facts["mesh"] == {"data": 16, "fsdp": 1, "tensor": 1}
  assert facts["bytes"] == 10**8 + 10**10
  # 6 TFLOP at 60% of 197 TFLOP/s; 10⁸ bytes twice, but for a sixteenth, over four links of 50 GB/s.
  transfer = 2 * 1e8 * 15 / 16 / 200e9
  assert facts["transfer_seconds"] == pytest.approx(transfer)
  assert facts["step_seconds"] == pytest.approx(6e12 / (0.6 * 197e12) + transfer)
  assert facts["mfu"] == pytest.approx(6e12 / 197e12 / facts["step_seconds"])
  assert facts["compiler_step_seconds"] == pytest.approx(0.2 + transfer)
  assert facts["tried"] == said
  assert any("60%" in line for line in lines)
