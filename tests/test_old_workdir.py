"""A run of an earlier version goes on under this one.

tests/workdirs/2026_11 holds a run that was stopped after step 4 of 8: made on 2026-11-27 by the version of 60e4a50, on
one CPU, in an empty folder with text/ in it, whose files' times had been set to `WRITTEN`:

    python ROOT/scripts/train_tokenizer.py --source='files:text/*.txt' --kind=wordpiece --vocab_size=60 \
      --output=vocab.txt
    python ROOT/train.py `COMMAND`

That run went on to step 8. Its metrics.jsonl is whole; of its checkpoints, 8 was removed, and so was tensorboard/.
expected.npz is what `state_arrays` read from both: the whole state of step 4, the parameters of step 8.

Never make it anew to have these tests pass: a run that somebody left half-way would be lost in the same way.
"""

import json
import os
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest
from flax import serialization

from albert_jax.checkpoints.manager import Checkpoints
from albert_jax.config import load_config
from albert_jax.tasks import make_task
from albert_jax.training.program import make_program
from tests.builders import LIMIT, ROOT

OLD = ROOT / "tests" / "workdirs" / "2026_11"
ROUNDING = 5e-6  # relative, in a metric, between processors: 8e-7 was seen between instruction sets of one
WRITTEN = 1_795_737_600  # 2026-11-27; the fingerprint of a text has its files' times, and a checkout has new ones
COMMAND = [
  f"--config={ROOT}/configs/albert_base.py:test",
  "--workdir=run",
  "--config.data.source=files:text/*.txt",
  "--config.data.tokenizer=vocab.txt",
  "--config.data.max_length=32",
  "--config.data.max_predictions=5",
  "--config.model.vocab_size=60",
  "--config.model.embedding=4",
  "--config.model.width=8",
  "--config.model.ffn=16",
  "--config.model.layers=3",
  "--config.model.positions=32",
  "--config.model.sharing.attn=cycle:2",
  "--config.model.dropout=0.1",
  "--config.train.steps=8",
  "--config.train.log_every=1",
  "--config.checkpoint.every=4",
]


@pytest.fixture
def folder(tmp_path):
  """A copy of all of it; paths in the run's config are relative to here."""
  shutil.copytree(OLD, tmp_path, dirs_exist_ok=True)
  for path in (tmp_path / "text").iterdir():
    os.utime(path, (WRITTEN, WRITTEN))
  return tmp_path


@pytest.fixture(scope="module")
def expected() -> dict[str, np.ndarray]:
  with np.load(OLD / "expected.npz") as arrays:
    return dict(arrays)


def state_arrays(workdir, step: int) -> dict[str, np.ndarray]:
  """The arrays of a checkpoint by their names on disk."""
  config = load_config(str(workdir))
  program = make_program(config, make_task(config), jax.devices()[:1])
  state = Checkpoints(str(workdir), read_only=True).restore(program.state, step)
  leaves = jax.tree_util.tree_leaves_with_path(serialization.to_state_dict(state))
  return {f"{step}{jax.tree_util.keystr(path)}": np.asarray(leaf) for path, leaf in leaves}


def run(folder, program: str, *arguments: str) -> subprocess.CompletedProcess:
  """As `run_program`, in the folder of the old run."""
  command, environment = [sys.executable, f"{ROOT}/{program}", *arguments], {**os.environ, "JAX_PLATFORMS": "cpu"}
  result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=LIMIT)
  assert result.returncode == 0, result.stderr[-3000:]
  return result


def metrics(folder) -> dict[tuple, dict[str, float]]:
  """Metrics by (split, step), without the speed, and without what that version counted otherwise.

  That is `fill` of an evaluation: the empty rows at the end of its last batch counted as padding.
  """
  lines = [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
  for line in lines:
    line.pop("tokens_per_second" if line["split"] == "train" else "fill", None)
    line.pop("pair_surface_accuracy", None)  # which that version did not measure
  return {(line.pop("split"), line.pop("step")): line for line in lines}


def test_its_state_is_read_to_the_bit(folder, expected):
  found = state_arrays(folder / "run", 4)
  assert [*found] == [name for name in expected if name.startswith("4")]
  for name, array in found.items():
    assert array.dtype == expected[name].dtype, name
    np.testing.assert_array_equal(array, expected[name], err_msg=name)


def test_it_goes_on_as_if_unbroken(folder, expected):
  resumed = run(folder, "train.py", *COMMAND)
  assert "resumed run at step 4" in resumed.stderr
  old, new = metrics(OLD), metrics(folder)
  assert [*new] == [*old]
  for key, line in new.items():
    assert line == pytest.approx(old[key], rel=ROUNDING), key
  found = state_arrays(folder / "run", 8)
  for name in (name for name in expected if name.startswith("8")):
    np.testing.assert_allclose(found[name], expected[name], rtol=1e-5, atol=1e-6, err_msg=name)


def test_it_is_evaluated(folder):
  result = run(folder, "eval.py", "--workdir=run")
  record = json.loads(result.stdout.splitlines()[-1])
  del record["valid"]["pair_surface_accuracy"]
  assert record["valid"].pop("fill") == pytest.approx(0.9348958333333334)
  assert record == {"step": 4, "valid": pytest.approx(metrics(OLD)["valid", 4], rel=ROUNDING)}
