"""Bad batches in the loop: what is skipped and logged, when the run ends, and looking into a step afterwards."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from albert_jax.checkpoints.manager import Checkpoints
from albert_jax.commands.replay import replay
from albert_jax.errors import InputError
from albert_jax.models.param import path_name
from albert_jax.tasks import make_task
from albert_jax.tasks.pretrain import PretrainTask
from albert_jax.training.loop import train
from albert_jax.training.program import make_program
from tests.builders import override


def make(config):
  return make_program(config, make_task(config), jax.devices()[:2])


def lines(folder, split: str) -> list[dict]:
  def refuse(constant):
    raise ValueError(f"{constant} is no JSON")

  records = [json.loads(x, parse_constant=refuse) for x in (folder / "metrics.jsonl").read_text().splitlines()]
  return [record for record in records if record["split"] == split]


def contents(folder) -> dict:
  return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def restore(program, folder, step: int):
  return Checkpoints(folder, read_only=True).restore(program.state, step)


@pytest.fixture
def config(tiny_config):
  """One program for all tests: it is compiled once."""
  values = {"model.layers": 2, "model.layer_loop": "scan", "model.dropout": 0.1, "mesh.fsdp": 2}
  values |= {"train.steps": 6, "train.microbatches": 2, "train.log_every": 1, "train.max_bad_steps": 2}
  return override(tiny_config, {**values, "eval.every": 0, "checkpoint.every": 2, "checkpoint.keep": 9})


class Poisoned:
  """Rows whose batches of the given numbers have weights that are not numbers, in their first row."""

  def __init__(self, rows, numbers):
    self._rows, self._numbers, self.num_rows = rows, numbers, rows.num_rows

  def batch(self, number, *arguments):
    batch = self._rows.batch(number, *arguments)
    if number in self._numbers:
      batch["mlm_weights"][0] = np.nan
    return batch


@pytest.fixture
def poison(monkeypatch):
  """Poisons training batches, by their numbers."""
  load_data = PretrainTask.load_data

  def set_numbers(numbers):
    def load(self):
      data = load_data(self)
      return dataclasses.replace(data, train=Poisoned(data.train, numbers))

    monkeypatch.setattr(PretrainTask, "load_data", load)

  return set_numbers


def test_a_bad_batch_is_skipped_logged_and_replayed(config, tmp_path, poison, capsys):
  poison({3})
  program = make(config)
  train(program, str(tmp_path), None)
  assert lines(tmp_path, "skipped") == [{"step": 4, "split": "skipped", "batch": 3, "loss": None, "grad_norm": None}]
  assert "step 4 was skipped, not finite: loss nan, gradient norm nan; 1 in a row" in capsys.readouterr().err
  logged = lines(tmp_path, "train")
  assert [line["skipped_steps"] for line in logged] == [0, 0, 0, 1, 0, 0]
  assert ["loss" in line for line in logged] == [True, True, True, False, True, True]
  state = restore(program, tmp_path, 6)
  assert (int(state.guard.skipped), int(state.guard.in_a_row)) == (1, 0)

  before = contents(tmp_path)
  program = make(override(config, {"name": "another"}))
  records = {step: json.loads(replay(program, str(tmp_path), step).splitlines()[-1]) for step in (1, 4, 5, 6)}
  told = capsys.readouterr().err
  assert "warning: name was albert_tiny_test" in told
  assert "from the beginning: 1 steps" in told
  assert "from the checkpoint of step 4: 2 steps" in told
  for step in (1, 5, 6):
    metrics = records[step]["metrics"]
    assert {name: logged[step - 1][name] for name in metrics} == metrics
    assert not any(records[step]["nonfinite"]["gradient"].values())
  assert len({record["batch"]["tokens"] for record in records.values()}) == 4
  bad = records[4]
  assert (bad["metrics"]["loss"], bad["metrics"]["skipped_steps"]) == (None, 1)
  sizes = {path_name(path): leaf.size for path, leaf in jax.tree_util.tree_leaves_with_path(state.params)}
  name = "encoder/attn/query/kernel"
  assert bad["nonfinite"]["gradient"][name] == sizes[name]
  assert bad["nonfinite"]["parameter"] == dict.fromkeys(sizes, 0)
  assert contents(tmp_path) == before


def test_too_many_bad_batches_end_the_run_before_anything_is_saved(config, tmp_path, poison):
  override(config, {"train.log_every": 100, "checkpoint.every": 1})
  poison({3, 4, 5})
  program = make(config)
  with pytest.raises(InputError, match=r"2 consecutive steps were skipped, the last was step 5 .*--replay_step=5"):
    train(program, str(tmp_path), None)
  assert Checkpoints(tmp_path, read_only=True).latest() == 4
  good, bad = restore(program, tmp_path, 3), restore(program, tmp_path, 4)
  assert int(bad.guard.in_a_row) == 1
  for a, b in zip(jax.tree.leaves((good.params, good.opt)), jax.tree.leaves((bad.params, bad.opt)), strict=True):
    np.testing.assert_array_equal(a, b)
  with pytest.raises(InputError, match="2 consecutive steps"):  # one before the checkpoint, one after
    train(program, str(tmp_path), None)
  assert [line["step"] for line in lines(tmp_path, "skipped")] == [4, 5]
  poison(())
  train(program, str(tmp_path), None)
  assert int(restore(program, tmp_path, 6).guard.in_a_row) == 0


@pytest.mark.parametrize(
  ("step", "message"), [(0, "steps 1 to 6"), (7, "steps 1 to 6"), (1, "config.json does not exist")]
)
def test_what_is_not_there_is_not_replayed(config, tmp_path, step, message):
  with pytest.raises(InputError, match=message):
    replay(make(config), str(tmp_path), step)
