"""The loop on labelled rows: resume, mesh, the best checkpoint, early stopping, seeds, first parameters."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest

from albert_jax.checkpoints.manager import Checkpoints
from albert_jax.commands.seeds import train_seeds
from albert_jax.errors import InputError
from albert_jax.interop.pretrained import open_pretrained
from albert_jax.tasks import make_task, resolve
from albert_jax.training import best, loop
from albert_jax.training.program import make_program
from configs import glue
from tests.builders import override


def make(config, devices: int = 1):
  return make_program(config, make_task(config), jax.devices()[:devices])


def run(config, folder, devices: int = 1, **values):
  """Trains in `folder` and returns (the evaluation, the parameters of the last step)."""
  config = override(config.copy_and_resolve_references(), values)
  start = resolve(config, open_pretrained(config.init_from) if config.init_from else None)
  program = make(config, devices)
  results = loop.train(program, str(folder), start)
  return results, Checkpoints(str(folder), read_only=True).restore_params(program.state.params)


def lines(folder, split: str) -> list[dict]:
  records = [json.loads(line) for line in (Path(folder) / "metrics.jsonl").read_text().splitlines()]
  return [record for record in records if record["split"] == split]


def assert_equal(params, others):
  jax.tree.map(np.testing.assert_array_equal, params, others)


@pytest.fixture
def config(tmp_path_factory):
  cache = tmp_path_factory.getbasetemp() / "labelled"
  values = {"data.cache_dir": str(cache), "data.length_multiple": 8, "model.dropout": 0.1, "train.steps": 8}
  values |= {
    "train.log_every": 1,
    "eval.every": 4,
    "checkpoint.every": 2,
    "checkpoint.keep": 9,
    "optimizer.warmup_steps": 2,
  }
  return override(glue.get_config("sst2,test"), values)


def test_a_killed_fine_tune_resumes_bit_for_bit(config, tmp_path, monkeypatch):
  results, whole = run(config, tmp_path / "whole")

  class Killed(Exception):
    pass

  def kill(*_):
    raise Killed

  with monkeypatch.context() as patch:
    patch.setattr(loop, "evaluate", kill)
    with pytest.raises(Killed):
      run(config, tmp_path / "parts")
  again, parts = run(config, tmp_path / "parts")
  assert_equal(whole, parts)
  assert again == results
  for split in ("train", "valid"):
    first, second = (
      [{k: v for k, v in line.items() if k != "tokens_per_second"} for line in lines(tmp_path / name, split)]
      for name in ("whole", "parts")
    )
    assert first[-len(second) :] == second


def test_eight_devices_give_the_loss_of_one(config, tmp_path):
  values = {"model.dropout": 0.0, "model.classifier_dropout": 0.0, "data.length_pool": 2}
  one, _ = run(config, tmp_path / "one", **values)
  eight, _ = run(config, tmp_path / "eight", devices=8, **values, **{"mesh.data": 4, "mesh.fsdp": 2})
  losses = [[line["loss"] for line in lines(tmp_path / name, "train")] for name in ("one", "eight")]
  np.testing.assert_allclose(losses[0], losses[1], rtol=2e-5)
  assert one["valid"]["loss"] == pytest.approx(eight["valid"]["loss"], rel=2e-5)
  assert one["valid"]["accuracy"] == eight["valid"]["accuracy"]


def test_the_best_parameters_are_kept_and_reported(config, tmp_path, monkeypatch):
  found, params = [0.5, 0.9, 0.7, 0.9], {}

  def evaluate(program, given, evaluations, supervisor):
    value = found.pop(0) if found else -1.0
    params[value] = params.get(value, jax.device_get(given))  # the first of equals
    return {"valid": {"loss": 0.0, "accuracy": value}}

  monkeypatch.setattr(loop, "evaluate", evaluate)
  run(config, tmp_path, **{"eval.every": 2})
  start = open_pretrained(str(tmp_path))
  assert start.step == 4
  assert "best step 4" in start.about
  specs = jax.tree.map(np.asarray, params[0.9])
  assert_equal(Checkpoints(str(tmp_path), read_only=True, folder=best.FOLDER).restore_params(specs, 4), params[0.9])
  assert_equal(params[-1.0], params[0.9])  # what is reported at the end is the best, evaluated again


def test_training_stops_when_patience_runs_out_and_stays_stopped(config, tmp_path, monkeypatch):
  found = [0.5, 0.4, 0.3, 0.9]
  monkeypatch.setattr(loop, "evaluate", lambda *_: {"valid": {"loss": 0.0, "accuracy": found.pop(0)}})
  values = {"eval.every": 2, "eval.patience": 2, "checkpoint.every": 100}
  run(config, tmp_path, **values)
  assert [line["step"] for line in lines(tmp_path, "valid")] == [2, 4, 6]
  assert Checkpoints(str(tmp_path), read_only=True).latest() == 6
  found[:] = [0.1]
  run(config, tmp_path, **values)
  assert [line["step"] for line in lines(tmp_path, "valid")] == [2, 4, 6]


def test_a_resumed_run_remembers_what_was_best(tmp_path):
  values = [("train", 2, 0.99), ("valid", 2, 0.5), ("other", 2, 0.1), ("valid", 4, 0.8), ("valid", 6, 0.9)]
  values += [("skipped", 3, 0.99), ("valid", 3, None)]
  records = [{"step": step, "split": split, "accuracy": value} for split, step, value in values]
  text = "\n".join(map(json.dumps, records)) + '\n{"step": 4, "spl'  # cut off by a kill
  (tmp_path / "metrics.jsonl").write_text(text)
  found = best.BestCheckpoint(str(tmp_path), metric="accuracy", patience=2, first_step=4)
  assert (found.step, found.value, found.exhausted) == (4, 0.8, False)


def test_an_unknown_metric_is_named(config, tmp_path):
  with pytest.raises(InputError, match=r'eval\.metric "acuracy"\. Did you mean "accuracy"'):
    run(config, tmp_path, **{"eval.metric": "acuracy"})


def test_several_seeds_give_mean_and_spread(config, tmp_path):
  override(config, {"seeds": 2, "seed": 3, "eval.every": 0})
  resolve(config, None)
  found = train_seeds(make, config, str(tmp_path), None)["valid"]
  assert json.loads((tmp_path / "seeds.json").read_text())["valid"] == found
  values = [run(config, tmp_path / "alone", **{"seeds": 1, "seed": 4, "eval.every": 0})[0]["valid"][m] for m in found]
  assert [metric["values"][1] for metric in found.values()] == values
  loss = found["loss"]
  assert loss["values"][0] != loss["values"][1]
  assert loss["mean"] == pytest.approx(np.mean(loss["values"]))
  assert loss["std"] == pytest.approx(np.std(loss["values"], ddof=1))


def test_a_task_starts_from_another_s_encoder_with_a_new_classifier(config, tmp_path, capsys):
  _, first = run(config, tmp_path / "sst2")
  other = override(glue.get_config("rte,test"), {"data.cache_dir": config.data.cache_dir, "train.steps": 10})
  shape = dict(vocab_size=0, embedding=0, width=0, layers=0, heads=0, ffn=0, positions=0, token_types=0, activation="")
  other.model.update(shape, sharing=dict(attn="", ffn=""))
  other.data.tokenizer = ""
  _, second = run(other, tmp_path / "rte", **{"init_from": str(tmp_path / "sst2"), "optimizer.learning_rate": 0.0})
  assert_equal(second["encoder"], first["encoder"])
  assert_equal(second["pooler"], first["pooler"])
  assert not np.array_equal(second["classifier"]["kernel"], first["classifier"]["kernel"])
  said = capsys.readouterr().err
  assert f"parameters from {tmp_path / 'sst2'}" in said
  assert "not there, and so new: classifier" in said
  recorded = json.loads((tmp_path / "rte" / "config.json").read_text())
  assert recorded["model"]["width"] == config.model.width


def test_epochs_become_steps(config, tmp_path):
  override(config, {"train.steps": 0, "train.epochs": 2.0, "eval.every": 0, "eval.epochs": 0.5})
  resolve(config, None)
  program = make(config)
  rows = program.task.load_data().train.num_rows
  assert program.steps == round(2 * rows / config.train.batch_size)
  assert program.eval_every == pytest.approx(program.steps / 4, abs=1)


def test_a_model_without_a_shape_is_refused(config):
  config.model.width = 0
  with pytest.raises(InputError, match=r"model\.width not given: start from a trained model with --config\.init_from"):
    resolve(config, None)
