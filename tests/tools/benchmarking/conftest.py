"""Jobs of a tiny model."""

import pytest

from albert_jax.tools.benchmarking.job import OURS, Job
from tests.builders import override


def tiny(name: str, **values):
  """A config's `test` variant, a little smaller, on one device."""
  import importlib

  config = importlib.import_module(f"configs.{name}").get_config("test")
  small = {"model.layers": 2, "train.batch_size": 8, "data.max_length": 32, "optimizer.name": "adamw"}
  return override(config, small | values)


@pytest.fixture
def make_job(tmp_path):
  """name of a config, keys → a job for ours in an empty folder."""

  def make(name: str, lengths: str = "full", **values) -> Job:
    return Job(OURS, "prepare", tiny(name, **values), str(tmp_path), steps=2, warmup=1, lengths=lengths)

  return make
