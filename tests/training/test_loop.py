"""The loop on real rows of a small corpus: resume, evaluation, logs."""

import json
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from albert_jax.checkpoints import manifest
from albert_jax.checkpoints.manager import Checkpoints
from albert_jax.errors import InputError
from albert_jax.interop.pretrained import open_pretrained
from albert_jax.tasks import make_task, resolve
from albert_jax.training import evaluation, loop
from albert_jax.training.program import make_program
from tests.builders import override


def run(config, folder, devices: int = 1, allow_changes=(), **values):
  """Trains in `folder` and returns (the evaluation, the final state)."""
  config = override(config.copy_and_resolve_references(), values)
  start = resolve(config, open_pretrained(config.init_from) if config.init_from else None)
  program = make_program(config, make_task(config), jax.devices()[:devices])
  results = loop.train(program, str(folder), start, allow_changes=allow_changes)
  checkpoints = Checkpoints(folder)
  state = checkpoints.restore(program.state)
  checkpoints.close()
  return results, state


def lines(folder, split=None) -> list[dict]:
  records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
  return [
    {key: value for key, value in record.items() if key != "tokens_per_second"}  # differs from run to run
    for record in records
    if split in (None, record["split"])
  ]


@pytest.fixture
def config(tiny_config):
  values = {"model.dropout": 0.1, "model.attention_dropout": 0.1, "data.packing": 2, "train.log_every": 1}
  return override(tiny_config, {**values, "train.steps": 4, "eval.every": 2, "checkpoint.every": 1})


def test_two_steps_and_two_more_equal_four_bit_for_bit(config, tmp_path, monkeypatch):
  batches = {}
  original = loop.device_batches

  def recorded(program, rows, start, stop, *, size):
    for step, batch in enumerate(original(program, rows, start, stop, size=size), start):
      if "unigram_nll" not in batch:  # which only evaluation has
        batches.setdefault(step, []).append(jax.tree.map(np.asarray, batch))
      yield batch

  monkeypatch.setattr(loop, "device_batches", recorded)
  whole_results, whole = run(config, tmp_path / "whole")

  class Killed(Exception):
    pass

  def kill(*_):
    raise Killed

  with monkeypatch.context() as patch:  # as a kill would, after the second checkpoint
    save = Checkpoints.save
    patch.setattr(Checkpoints, "save", lambda self, state, step: save(self, state, step) if step < 3 else kill())
    with pytest.raises(Killed):
      run(config, tmp_path / "parts")
  resumed_results, resumed = run(config, tmp_path / "parts")

  for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(resumed), strict=True):
    np.testing.assert_array_equal(a, b)
  assert int(resumed.step) == 4
  assert resumed_results == whole_results
  assert lines(tmp_path / "whole") == lines(tmp_path / "parts")
  assert sorted(batches) == [0, 1, 2, 3]
  for step, versions in batches.items():
    for other in versions[1:]:
      for name, array in versions[0].items():
        np.testing.assert_array_equal(array, other[name], err_msg=f"{name} of step {step}")


def test_nothing_is_written_any_more_once_a_run_has_failed(config, tmp_path, monkeypatch):
  written = manifest.write
  monkeypatch.setattr(manifest, "write", lambda folder, **more: time.sleep(1) or written(folder, **more))

  def fail(*_):
    raise OSError("a disk is gone")

  monkeypatch.setattr(loop, "evaluate", fail)  # at step 2, while step 1 is being written
  with pytest.raises(OSError, match="a disk is gone"):
    run(config, tmp_path)
  assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["1"]


def test_what_a_run_writes(config, tmp_path):
  results, _ = run(config, tmp_path)
  train, valid = lines(tmp_path, "train"), lines(tmp_path, "valid")
  assert [line["step"] for line in train] == [1, 2, 3, 4]
  assert [line["step"] for line in valid] == [2, 4]
  keys = {"loss", "mlm_loss", "mlm_accuracy", "pair_loss", "pair_accuracy", "fill"}
  assert {*keys, "learning_rate", "grad_norm"} <= set(train[0])
  assert {*keys, "unigram_loss", "mlm_perplexity"} <= set(valid[0])
  assert valid[-1] == {"step": 4, "split": "valid", **results["valid"]}
  assert train[0]["loss"] == pytest.approx(train[0]["mlm_loss"] + train[0]["pair_loss"])
  assert json.loads((tmp_path / "config.json").read_text())["model"]["sharing"]["attn"] == "all"
  assert list((tmp_path / "tensorboard").iterdir())


def test_evaluation_counts_each_example_once_whatever_the_batch_and_mesh(config):
  program = make_program(config, make_task(config), jax.devices()[:1])
  state, evaluations = program.init(0), program.task.load_data().evaluations
  expected = evaluation.evaluate(program, state.params, evaluations)["valid"]
  rows = evaluations["valid"].num_rows
  for devices, size in [(1, rows), (1, 1), (1, rows - 1), (8, 5)]:
    other = override(config.copy_and_resolve_references(), {"eval.batch_size": size})
    other = override(other, {"train.batch_size": 16})
    program = make_program(other, make_task(other), jax.devices()[:devices])
    metrics = evaluation.evaluate(program, state.params, evaluations)["valid"]
    assert metrics.pop("fill") > 0  # counts the empty rows that fill up the last batch
    assert metrics == pytest.approx({k: v for k, v in expected.items() if k != "fill"}, rel=1e-5)


def test_the_unigram_baseline_is_that_of_the_training_text(config):
  rows = make_task(config).load_data().evaluations["valid"]
  batch = rows.batch(0, rows.num_rows, 0, rows.num_rows)
  weights = batch["mlm_weights"]
  program = make_program(config, make_task(config), jax.devices()[:1])
  metrics = evaluation.evaluate(program, program.init(0).params, {"valid": rows})["valid"]
  train = rows._rows._examples.unigram_counts + 1.0
  expected = -(np.log(train / train.sum())[batch["mlm_labels"]] * weights).sum() / weights.sum()
  assert metrics["unigram_loss"] == pytest.approx(expected, rel=1e-5)
  assert metrics["mlm_loss"] == pytest.approx(np.log(config.model.vocab_size), rel=0.05)  # nothing is learnt yet


def test_training_beats_the_unigram_baseline(tiny_config, tmp_path):
  values = {"train.steps": 200, "train.log_every": 50, "eval.every": 0, "checkpoint.every": 200}
  optimizer = {"optimizer.learning_rate": 4e-3, "optimizer.warmup_steps": 20, "optimizer.beta2": 0.98}
  results, _ = run(tiny_config, tmp_path, **values, **optimizer)
  assert results["valid"]["mlm_loss"] < results["valid"]["unigram_loss"] - 0.3


def test_a_finished_run_is_evaluated_again_and_nothing_else(config, tmp_path):
  first, state = run(config, tmp_path)
  before = lines(tmp_path)
  again, same = run(config, tmp_path)
  assert again == first
  assert lines(tmp_path) == before
  np.testing.assert_array_equal(state.step, same.step)


def test_a_run_beyond_its_end_is_refused(config, tmp_path):
  run(config, tmp_path)
  with pytest.raises(InputError, match=r"at step 4, beyond train.steps 3"):
    run(config, tmp_path, **{"train.steps": 3})


def test_a_changed_config_is_refused_or_told(config, tmp_path, capsys):
  run(config, tmp_path)
  values = {"train.steps": 5, "optimizer.learning_rate": 0.5}
  with pytest.raises(InputError, match=r"optimizer.learning_rate was 0.002, it is now 0.5\n  train.steps was 4"):
    run(config, tmp_path, **values)
  assert json.loads((tmp_path / "config.json").read_text())["train"]["steps"] == 4
  run(config, tmp_path, allow_changes=[*values], **values)
  assert "train.steps was 4, from here on it is 5" in capsys.readouterr().err
  assert json.loads((tmp_path / "config.json").read_text())["train"]["steps"] == 5


def test_a_change_that_the_checkpoint_refuses_leaves_the_folder_as_it_was(config, tmp_path):
  run(config, tmp_path)
  before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and path.name != ".lock"}
  wider = override(config.copy_and_resolve_references(), {"model.ffn": 80, "train.steps": 6})
  with pytest.raises(InputError, match="does not fit this config"):
    run(wider, tmp_path, allow_changes=["model.ffn", "train.steps"])
  after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and path.name != ".lock"}
  assert after == before


@pytest.mark.parametrize("name", ["runs[v2]", "run*", "what?"])
def test_a_path_that_orbax_reads_as_a_pattern_is_refused_at_once(config, tmp_path, name):
  with pytest.raises(InputError, match="in its path"):
    run(config, tmp_path / name)
  assert not (tmp_path / name).exists()


def test_an_imported_model_is_not_trained_over(config, tmp_path):
  program = make_program(config, make_task(config), jax.devices()[:1])
  checkpoints = Checkpoints(str(tmp_path))
  checkpoints.save(program.init(5), 0)
  checkpoints.close()
  with pytest.raises(InputError, match="init_from"):
    run(config, tmp_path)
  assert Checkpoints(str(tmp_path)).latest() == 0


def test_parameters_that_are_not_finite_are_never_saved(config, tmp_path, monkeypatch):
  add = loop.StepLog.add

  def overflow(self, step, terms):  # as an update that the guard could not foresee
    add(self, step, terms)
    if step == 2:
      advance = loop.is_due
      monkeypatch.setattr(loop, "is_due", lambda *arguments: poison() or advance(*arguments))

  runs = []

  def poison():
    (under_way,) = runs
    bad = jax.tree.map(lambda w: w.at[(0,) * w.ndim].set(jnp.inf), under_way.state.params)
    under_way.state = under_way.state._replace(params=bad)

  start = loop.resume_or_start
  monkeypatch.setattr(loop, "resume_or_start", lambda *arguments: runs.append(start(*arguments)) or runs[-1])
  monkeypatch.setattr(loop.StepLog, "add", overflow)
  with pytest.raises(InputError, match="not finite after step 2"):
    run(override(config, {"eval.every": 0}), tmp_path)
  assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["1"]


def test_init_from_takes_another_run_s_parameters(config, tmp_path):
  _, state = run(config, tmp_path / "first")
  values = {"init_from": str(tmp_path / "first"), "optimizer.learning_rate": 0.0}
  _, other = run(config, tmp_path / "second", **values)
  for a, b in zip(jax.tree.leaves(state.params), jax.tree.leaves(other.params), strict=True):
    np.testing.assert_array_equal(a, b)
  assert int(other.step) == 4
  assert not np.array_equal(state.opt[1].mu["mlm"]["bias"], other.opt[1].mu["mlm"]["bias"])


def test_a_vocabulary_larger_than_the_model_is_refused(config, tmp_path):
  with pytest.raises(InputError, match=r"50 pieces, but model.vocab_size is 40"):
    run(config, tmp_path / "run", **{"model.vocab_size": 40})
  assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("pair", ["nsp", "none"])
def test_other_objectives_train(config, tmp_path, pair):
  results, _ = run(config, tmp_path, **{"data.pair_objective": pair})
  assert ("pair_loss" in results["valid"]) == (pair == "nsp")
