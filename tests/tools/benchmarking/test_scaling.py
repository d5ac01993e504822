import dataclasses

import pytest

from albert_jax.tools.benchmarking import scaling


def test_data_parallelism_sends_as_much_however_many_devices(make_job):
  def sent(devices):
    job = dataclasses.replace(make_job("albert_base", **{"train.batch_size": 2 * devices}), steps=0, devices=devices)
    found = scaling.measure(job)
    assert found["devices"] == devices
    assert set(found["sent_bytes"]) == {"all-reduce"}
    return found["sent_bytes"]["all-reduce"], found["state_bytes"] / 3  # parameters and two moments

  (few, gradient), (many, same_gradient) = sent(2), sent(8)
  assert gradient == same_gradient
  assert many / few == pytest.approx((7 / 8) / (1 / 2), rel=1e-3)  # of the ring algorithm: towards twice the bytes
  # A shared weight's gradient is summed once for each layer, and the word table's once for each of its two uses.
  assert 1 < many / (2 * 7 / 8 * gradient) < 2


def test_a_checkpoint_of_eight_devices_holds_the_state_once(make_job):
  large = {"train.batch_size": 16, "model.vocab_size": 50_000}  # beside which names and checksums count for little
  found = scaling.measure(make_job("albert_base", **large))
  assert found["step_seconds"] > 0
  assert found["input_seconds"] > 0
  assert 0.5 < found["checkpoint_bytes"] / found["state_bytes"] < 1.5  # the moments of unseen words compress well


def test_microbatches_take_a_larger_batch_at_the_same_memory(make_job):
  def temporaries(batch_size, microbatches):
    job = make_job("albert_base", **{"train.batch_size": batch_size, "train.microbatches": microbatches})
    return scaling.measure(dataclasses.replace(job, steps=0))["temporary_bytes"]

  assert temporaries(128, 4) < 1.2 * temporaries(32, 1)
  assert temporaries(128, 1) > 2 * temporaries(32, 1)


def test_the_report_has_a_row_for_each_point(make_job):
  job = make_job("albert_base", **{"train.batch_size": 16})
  point = {
    "devices": 8, "mesh": {"data": 8, "fsdp": 1, "tensor": 1}, "batch_size": 16, "microbatches": 1,
    "sent_bytes": {"all-reduce": 3 * 2**20}, "temporary_bytes": 2**21, "state_bytes": 2**20, "step_seconds": 0.32,
    "input_seconds": 0.016, "checkpoint_bytes": 2**20, "checkpoint_seconds": 1.0,
  }  # fmt: skip
  text = scaling.report([point], [point], job.config)
  assert "| 8 | 8×1×1 | 16 | 320 | 20.0 | 1.000 | 3.00 | 2.0 | 1.0 | 1.0 | 1.0 |" in text
  assert "| 16 | 1 | 2.0 |" in text
