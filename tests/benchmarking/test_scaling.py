import dataclasses

from albert_jax.benchmarking import scaling


def test_data_parallelism_sends_the_gradient_once_and_saves_the_state_once(make_job):
  job = make_job("albert_base", **{"train.batch_size": 16})
  found = scaling.measure(job)
  gradient = found["state_bytes"] / 3  # parameters and two moments
  assert found["devices"] == 8
  assert set(found["sent_bytes"]) == {"all-reduce"}
  assert 1 < found["sent_bytes"]["all-reduce"] / (2 * 7 / 8 * gradient) < 1.05
  assert found["step_seconds"] > 0
  assert 1 < found["checkpoint_bytes"] / found["state_bytes"] < 1.3


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
