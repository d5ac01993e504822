import pytest

from albert_jax.errors import InputError
from albert_jax.tools.card import parts
from albert_jax.tools.card.report import report

SPEED = {"tokens_per_second": 1e6, "p50_seconds": 0.0625, "p95_seconds": 0.07, "mfu": 0.41, "compile_seconds": 20.0}
SPEED |= {"memory": {"peak": 2**31}, "device": "NVIDIA H100", "versions": {"jax": "0.11.0"}}


def make_session(**found):
  machine = {"processor": "a processor", "cores": 16}
  return {"date": "2026-01-01", "small": False, "machine": machine, "parts": found}


def test_report_says_what_was_measured_and_what_failed():
  text = report(
    make_session(
      speed={"seconds": 50.0, "rows": 128, "length": 512, "ours": SPEED, "ratio": 1.5},
      cut={"seconds": 90.0, "error": "ended after 90 s"},
      resume={"seconds": 30.0, "arrays": 12, "different": []},
      other={"seconds": 30.0, "arrays": 12, "different": ["['params']"]},
    )
  )
  assert "NVIDIA H100, jax 0.11.0" in text
  assert "| speed | 128 × 512 | 1,000,000 | 62.5 | 70.0 | 41.0% | peak 2,048 | 20 | 1.50 |" in text
  assert "- cut: **failed**: ended after 90 s (90 s)" in text
  assert "- resume: 12 arrays, bit-equal (30 s)" in text
  assert "- other: 12 arrays, **1 differ**" in text


def test_rows_are_halved_until_they_fit_and_other_faults_are_not_hidden(monkeypatch):
  asked = []

  def run(job, say):
    asked.append(job.config.train.batch_size)
    if job.config.train.batch_size > 2:
      raise InputError("ours failed: RESOURCE_EXHAUSTED: Out of memory")
    raise InputError("another fault")

  monkeypatch.setattr(parts.jobs, "run", run)
  with pytest.raises(InputError, match="another fault"):
    parts.Speed("bert_base", 512, 128)(small=True)
  assert asked == [4, 2]


def test_a_peer_that_fails_leaves_our_figures(monkeypatch):
  facts = {"length": 32, "fill": 1.0, "params": 5, "flops_per_token": 100.0}
  timed = {"seconds": [0.5, 0.5], "tokens": 10, "positions": 20, "memory": {}, "device": "cpu", "versions": {}}

  def run(job, say):
    if job.contender != parts.OURS:
      raise InputError("no torch")
    return facts if job.action == "prepare" else timed

  monkeypatch.setattr(parts.jobs, "run", run)
  found = parts.Speed("bert_base", 512, 128, peer=True)(small=True)
  assert found["peer_error"] == "no torch"
  assert found["ours"]["tokens_per_second"] == 10.0
  assert found["ours"]["model_flops_per_second"] == 4000.0
