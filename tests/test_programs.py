"""train.py and eval.py as a user starts them."""

import json

import numpy as np
import pytest

from albert_jax.checkpoints.manager import Checkpoints
from albert_jax.config import save_config
from tests.builders import LIMIT, run_program, start_program


@pytest.fixture
def arguments(tiny_overrides) -> list[str]:
  return [f"--config.{key}={value}" for key, value in tiny_overrides.items()]


def read(folder) -> list[dict]:
  return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_train_then_resume_then_evaluate(arguments, tmp_path):
  command = ["train.py", "--config=configs/albert_base.py:test", f"--workdir={tmp_path}", *arguments]
  first = run_program(*command)
  assert "step 6/6" in first.stderr
  assert "(unigram" in first.stderr
  assert "Traceback" not in first.stderr
  changes = ["--config.train.steps=8", "--config.optimizer.learning_rate=1e-3", "--config.train.log_every=1"]
  refused = run_program(*command, *changes, check=False)
  assert refused.returncode == 2
  assert "train.steps was 6, it is now 8" in refused.stderr
  longer = run_program(*command, *changes, "--allow_changes=train.steps,optimizer.learning_rate")
  assert f"resumed {tmp_path} at step 6" in longer.stderr
  evaluation = run_program("eval.py", f"--workdir={tmp_path}")
  record = json.loads(evaluation.stdout.splitlines()[-1])
  assert record["step"] == 8
  (last,) = (line for line in read(tmp_path) if line["split"] == "valid" and line["step"] == 8)
  assert record["valid"] == pytest.approx({k: v for k, v in last.items() if k not in ("step", "split")}, rel=1e-6)
  replayed = run_program(*command, *changes, "--replay_step=8")
  assert "from the checkpoint of step 6: 2 steps" in replayed.stderr
  (logged,) = (line for line in read(tmp_path) if line["split"] == "train" and line["step"] == 8)
  metrics = json.loads(replayed.stdout.splitlines()[-1])["metrics"]
  assert metrics == {name: logged[name] for name in metrics}
  assert {"loss", "grad_norm"} <= {*metrics}
  at_six = run_program("eval.py", f"--workdir={tmp_path}", "--step=6")
  assert json.loads(at_six.stdout.splitlines()[-1])["step"] == 6


def test_two_processes_train_as_one(arguments, coordinator, tmp_path):
  def command(name):
    settings = ["--config.model.dropout=0.1", "--config.train.log_every=1", "--config.train.microbatches=2"]
    return ["train.py", "--config=configs/albert_tiny.py:test", f"--workdir={tmp_path / name}", *arguments, *settings]

  run_program(*command("one"))
  jobs = [
    start_program(
      *command("two"), f"--coordinator_address={coordinator}", "--num_processes=2", f"--process_id={process}"
    )
    for process in range(2)
  ]
  outputs = [job.communicate(timeout=LIMIT) for job in jobs]
  assert [job.returncode for job in jobs] == [0, 0], "\n\n".join(stderr[:6000] for _, stderr in outputs)
  one, two = read(tmp_path / "one"), read(tmp_path / "two")
  assert len(one) == len(two)
  for a, b in zip(one, two):
    assert (a["step"], a["split"]) == (b["step"], b["split"])
    for name in {*a} - {"split", "tokens_per_second"}:
      assert a[name] == pytest.approx(b[name], rel=1e-4), name


def test_dry_run_ends_in_json_and_writes_nothing(tmp_path):
  workdir = tmp_path / "run"
  result = run_program("train.py", "--config=configs/albert_base.py", "--dry_run", f"--workdir={workdir}")
  record = json.loads(result.stdout.splitlines()[-1])
  assert record["params"] == 11_813_810
  assert {"params_by_part", "flops_per_token", "mesh", "bytes_per_device"} <= set(record)
  assert not workdir.exists()


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    (["train.py"], "--config=configs/albert_tiny.py"),
    (["train.py", "--config=configs/albert_base.py", "--config.model.width=wide"], "--config.model.width=wide"),
    (["train.py", "--config=configs/albert_base.py", "--config.data.source=files:/no/such/*.txt"], "/no/such"),
    (["train.py", "--config=configs/albert_base.py", "--workdir=gs://bucket/run"], "mount the bucket"),
    (["train.py", "--config=configs/glue.py:sst2,test", "--config.seeds=2", "--replay_step=1"], "--config.seeds=1"),
    (["train.py", "--config=configs/albert_base.py", "extra"], "unexpected argument 'extra'"),
    (["train.py", "--config=configs/albert_base.py", "--num_processes=2"], "--coordinator_address"),
    (["eval.py", "--workdir=/no/such/run"], "/no/such/run/config.json does not exist"),
  ],
)
def test_mistakes_end_in_one_message_and_status_two(arguments, message):
  result = run_program(*arguments, check=False)
  assert result.returncode == 2
  assert "error: " in result.stderr
  assert message in result.stderr
  assert "Traceback" not in result.stderr


def test_an_imported_model_has_no_data_to_be_evaluated_on(tiny_config, tmp_path):
  save_config(tiny_config, str(tmp_path))
  checkpoints = Checkpoints(str(tmp_path))
  checkpoints.save({"step": np.int32(0), "params": {"encoder": np.zeros(2)}}, 0)
  checkpoints.close()
  result = run_program("eval.py", f"--workdir={tmp_path}", check=False)
  assert result.returncode == 2
  assert f"--config.init_from={tmp_path}" in result.stderr.splitlines()[-1]
