import dataclasses
import time

import numpy as np
import pytest

from albert_jax.errors import InputError
from albert_jax.tasks import make_task
from albert_jax.tools.benchmarking import files, ours, peers_transformers, timing, weights
from albert_jax.tools.benchmarking.job import OURS
from tests.tools.benchmarking.conftest import tiny


@pytest.mark.parametrize("peer", ["transformers", "tuned", "packed"])
@pytest.mark.parametrize(
  ("name", "lengths", "values"),
  [
    ("bert_base", "full", {}),
    (
      "albert_base",
      "realistic",
      {"data.packing": 3, "model.sharing.attn": "groups:2", "model.sharing.ffn": "groups:2"},
    ),
    ("bert_base", "realistic", {"data.pair_objective": "none", "data.packing": 2}),
  ],
  ids=["bert", "albert, packed", "no pairs"],
)
def test_peers_compute_the_same(name, lengths, values, peer, make_job):
  job = make_job(name, lengths, **values)
  ours.prepare(job)
  ours.export(job)
  theirs = dataclasses.replace(job, contender=peer)
  peers_transformers.gate(theirs)
  gate = weights.check_gates(job.gradient_file, theirs.gradient_file, peer)
  assert gate["loss_difference"] < 1e-5
  assert gate["gradient_cosine"] > 0.99999


@pytest.mark.parametrize("peer", ["transformers", "tuned", "packed"])
def test_peers_take_as_many_steps_as_asked(peer, make_job, monkeypatch):
  monkeypatch.setitem(timing.GEMM_SIZES, "cpu", (64,))
  job = dataclasses.replace(make_job("bert_base"), contender=peer, started=time.time())
  ours.prepare(job)
  ours.export(dataclasses.replace(job, contender=OURS))
  found = peers_transformers.measure(job)
  assert len(found["seconds"]) == job.steps
  assert min(found["seconds"]) > 0
  assert found["processor_seconds"] > 0
  assert found["first_step_seconds"] > 0
  assert found["tokens"] == job.steps * found["positions"]  # full rows


class TestGates:
  @pytest.fixture
  def check(self, make_job):
    """Our gradient and a changed copy of it, held against each other."""
    job = make_job("albert_base")
    ours.prepare(job)
    ours.export(job)

    def check(change, loss=1.0):
      value, gradient = files.load_gradient(job.gradient_file)
      files.save_gradient(job.path / "theirs", value * loss, change(gradient))
      return weights.check_gates(job.gradient_file, job.path / "theirs", "them")

    return check

  def test_equal_ones_pass(self, check):
    gate = check(lambda gradient: gradient)
    assert gate["loss_difference"] == 0
    assert gate["gradient_cosine"] == pytest.approx(1, abs=1e-12)

  def test_another_loss_fails(self, check):
    with pytest.raises(InputError, match="nothing was timed"):
      check(lambda gradient: gradient, loss=1.0003)

  def test_another_gradient_fails(self, check):
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match="they do not compute the same"):
      check(lambda gradient: {k: v * rng.choice([1, -1], v.shape).astype(v.dtype) for k, v in gradient.items()})

  def test_one_tensor_turned_round_fails(self, check):
    name = "albert.encoder.albert_layer_groups.0.albert_layers.0.attention.value.weight"
    with pytest.raises(InputError, match="cosine of the gradients is -1"):
      check(lambda gradient: gradient | {name: -gradient[name]})

  def test_a_gradient_that_is_nan_fails(self, check):
    with pytest.raises(InputError, match="cosine of the gradients is nan"):
      check(lambda gradient: {k: v * np.float32("nan") for k, v in gradient.items()})

  def test_a_parameter_that_only_one_has_fails(self, check):
    with pytest.raises(InputError, match="gradient of predictions"):
      check(lambda gradient: {k: v for k, v in gradient.items() if k != "predictions.bias"})


def test_a_wrong_weight_fails_the_gate(make_job):
  import safetensors.numpy

  job = make_job("bert_base")
  ours.prepare(job)
  ours.export(job)
  path = job.path / files.MODEL_FOLDER / "model.safetensors"
  tensors = safetensors.numpy.load_file(path)
  tensors["bert.encoder.layer.1.attention.self.value.weight"] *= -1
  safetensors.numpy.save_file(tensors, path, {"format": "pt"})
  theirs = dataclasses.replace(job, contender="tuned")
  peers_transformers.gate(theirs)
  with pytest.raises(InputError, match="they do not compute the same"):
    weights.check_gates(job.gradient_file, theirs.gradient_file, "tuned")


@pytest.mark.parametrize("values", [{"model.sharing.attn": "cycle:2"}, {"model.sharing.ffn": "none"}])
def test_sharing_that_transformers_lacks_is_refused(values):
  encoder = make_task(tiny("albert_base", **{"model.layers": 4} | values)).encoder
  with pytest.raises(InputError, match="or give no --peers"):
    weights.layout(encoder)
