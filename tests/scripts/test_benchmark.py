import json

from tests.builders import run_program

TINY = ("--config.model.layers=1", "--config.data.max_length=32", "--config.train.batch_size=4")


def benchmark(*arguments, check=True):
  return run_program(
    "scripts/benchmark.py",
    "--config=configs/albert_base.py:test",
    *TINY,
    *arguments,
    check=check,
    JAX_DISABLE_MOST_OPTIMIZATIONS="1",
  )


def test_json_and_table(tmp_path):
  done = benchmark("--steps=2", "--warmup=1", "--repeats=1", f"--output={tmp_path}/found.json")
  found = json.loads((tmp_path / "found.json").read_text())
  ours = found["contenders"]["ours"]
  assert ours["tokens_per_second"] > 0
  assert ours["mfu"] is None  # of a CPU no peak is known
  assert 0 < ours["gemm_fraction"] < 1
  assert ours["step_p50_seconds"] <= ours["step_p95_seconds"]
  assert 0 < ours["compile_seconds_warm"] < ours["compile_seconds_cold"] < ours["first_step_seconds_cold"]
  assert ours["memory"]["planned"] > 3 * 4 * found["facts"]["params"]
  assert found["facts"]["fill"] == 1.0
  parts = found["parts"]
  names = ("encoder_forward", "encoder_backward", "heads", "optimizer")
  assert abs(sum(parts[name] for name in names) - parts["step"]) < 1e-9
  assert "| ours |" in done.stdout
  assert found["config"]["model"]["layers"] == 1


def test_mistakes_end_with_one_line():
  done = benchmark("--peers=tuned,torch", check=False)
  assert done.returncode == 2
  assert 'Unknown peer "torch"' in done.stderr
  done = benchmark("--config.train.batch_size=0", check=False)
  assert done.returncode == 2
  assert "Traceback" not in done.stderr
