import pytest

from albert_jax.errors import InputError
from albert_jax.tools.benchmarking import job as jobs
from albert_jax.tools.benchmarking import race, report

FACTS = dict(
  rows=4, length=8, fill=1.0, params=10, dtype="float32", optimizer="adamw", mesh={"data": 1, "fsdp": 1, "tensor": 1}
)
PARTS = dict(encoder_forward=0.1, encoder_backward=0.2, heads=0.3, optimizer=0.4, step=1.0, forward=0.2, backward=0.4)


@pytest.fixture
def calls(monkeypatch):
  """Jobs are recorded, and answered without a process. Ours takes 1 s for a step, the n-th run of a peer 2 + n."""
  done = []

  def run(job, say):
    done.append((job.contender, job.action))
    runs = done.count((job.contender, "time"))
    step = 1.0 if job.contender == "ours" else 2.0 + runs
    timed = dict(
      seconds=[step] * job.steps,
      processor_seconds=1.5 * step * job.steps,
      tokens=16 * job.steps,
      positions=32,
      gemm_flops=640.0,
      memory={"resident": 2**20 * runs},
      first_step_seconds=9.0 - runs,
      device="cpu",
      versions={"x": "1"},
      threads=2,
    )
    if job.contender == "ours":
      timed |= dict(compile_seconds=5.0 / runs if runs else 0, peak_flops=3200.0)
    return {
      "prepare": FACTS | dict(flops_per_token=10.0, input_seconds=0.1),
      "time": timed,
      "parts": PARTS | {"how": "…"},
    }.get(job.action, {})

  monkeypatch.setattr(jobs, "run", run)
  monkeypatch.setattr(race, "check_gates", lambda *_: dict(loss_difference=1e-7, gradient_cosine=1.0))
  monkeypatch.setattr("pathlib.Path.unlink", lambda path: None)
  return done


def run(make_job, peers, repeats):
  return race.race(make_job("bert_base"), peers, repeats=repeats, say=lambda line: None)


def test_gates_come_first_and_contenders_take_turns(calls, make_job):
  run(make_job, ["tuned"], 2)
  assert calls == [
    ("ours", "prepare"),
    ("ours", "gate"),
    ("tuned", "gate"),
    *[("ours", "time"), ("tuned", "time")] * 2,
    ("ours", "parts"),
  ]


def test_the_lowest_ratio_is_told(calls, make_job):
  found = run(make_job, ["tuned"], 3)
  assert found["ratios"]["tuned"] == {"by_round": [3.0, 4.0, 5.0], "lowest": 3.0, "median": 4.0}


def test_rates_and_shares(calls, make_job):
  ours = run(make_job, [], 2)["contenders"]["ours"]
  assert ours["tokens_per_second"] == 16
  assert ours["positions_per_second"] == 32
  assert ours["processor_seconds_per_step"] == 1.5
  assert ours["mfu"] == 0.1
  assert ours["gemm_fraction"] == 0.5
  assert (ours["compile_seconds_cold"], ours["compile_seconds_warm"]) == (5.0, 2.5)
  assert (ours["first_step_seconds_cold"], ours["first_step_seconds_warm"]) == (8.0, 7.0)
  assert ours["memory"] == {"resident": 2**21}


def test_one_round_has_a_second_start(calls, make_job):
  ours = run(make_job, [], 1)["contenders"]["ours"]
  assert calls.count(("ours", "time")) == 2
  assert ours["compile_seconds_warm"] == 2.5
  assert ours["tokens_per_second_by_round"] == [16]


def test_the_report_shows_what_was_found(calls, make_job):
  found = run(make_job, ["tuned"], 2) | {"name": "tiny", "machine": report.machine()}
  text = report.report(found)
  assert "| tuned | 5 | 9 |" in text
  assert "| tuned | 1.0e-07 | 1.0000000 | 3.00 | 3.50 |" in text
  assert "| clip, optimizer, guard | 400.0 | 40.0% |" in text


def test_peers_are_not_held_against_several_devices(calls, make_job, monkeypatch):
  monkeypatch.setitem(FACTS, "mesh", {"data": 4, "fsdp": 1, "tensor": 1})
  run(make_job, [], 1)
  with pytest.raises(InputError, match="one device"):
    run(make_job, ["tuned"], 1)


def test_an_unknown_peer_is_named(make_job):
  with pytest.raises(InputError, match='"tuned"'):
    race.race(make_job("bert_base"), ["tune"], repeats=1, say=print)
