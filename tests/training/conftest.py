"""A batch of random rows for a small pretraining task."""

import numpy as np
import pytest

from albert_jax.tasks import make_task
from tests.conftest import override


@pytest.fixture
def small_config():
  """A model that every mesh of eight devices can split, without dropout."""
  from configs import albert_tiny

  config = override(albert_tiny.get_config("test"), {"model.vocab_size": 64, "model.heads": 4})
  return override(config, {"model.sharing.attn": "cycle:2", "optimizer.name": "lamb"})


@pytest.fixture
def small_batch(small_config):
  return make_batch(small_config, seed=0)


def make_batch(config, seed: int) -> dict[str, np.ndarray]:
  """Random rows of uneven length and with uneven numbers of predictions, as the task's shapes ask for."""
  random = np.random.default_rng(seed)
  specs = make_task(config).batch_specs(config.train.batch_size)
  batch = {name: np.zeros(spec.shape, spec.dtype) for name, spec in specs.items()}
  rows, length = batch["tokens"].shape
  lengths = random.integers(length // 4, length, rows)
  real = np.arange(length) < lengths[:, None]
  batch["tokens"][:] = random.integers(5, config.model.vocab_size, (rows, length)) * real
  batch["types"][:] = (np.arange(length) > lengths[:, None] // 2) & real
  batch["examples"][:] = real
  batch["positions"][:] = np.arange(length) * real
  slots = batch["mlm_positions"].shape
  batch["mlm_positions"][:] = random.integers(0, lengths[:, None], slots)
  batch["mlm_labels"][:] = random.integers(5, config.model.vocab_size, slots)
  batch["mlm_weights"][:] = np.arange(slots[1]) < random.integers(1, slots[1], rows)[:, None]
  batch["pair_labels"][:] = random.integers(0, 2, (rows, 1))
  batch["pair_weights"][:] = random.random((rows, 1)) < 0.7
  return batch
