"""Tiny models of transformers with random weights everywhere, and the same rows for both sides."""

import json

import jax
import ml_collections
import numpy as np
import pytest
import safetensors.numpy
import torch
import transformers
from flax import nnx

from albert_jax.checkpoints.manager import Checkpoints
from albert_jax.config import save_config
from albert_jax.errors import InputError
from albert_jax.interop.huggingface import read_huggingface
from albert_jax.models.heads import ClassificationModel, PretrainingModel, SpanModel
from albert_jax.tasks.settings import RUNTIME, encoder_config
from albert_jax.training.step import TrainState

SIZES = dict(vocab_size=37, num_hidden_layers=4, num_attention_heads=4, hidden_size=24, intermediate_size=20)
SIZES |= dict(max_position_embeddings=16, type_vocab_size=3)
NO_DROPOUT = dict(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
LENGTHS = (13, 8, 1)


def make_torch(name: str, **config) -> torch.nn.Module:
  """A model of a class of transformers; no parameter, biases and LayerNorms included, is where it begins."""
  family = name[: name.index("For")] if "For" in name else name.removesuffix("Model")
  sizes = SIZES | NO_DROPOUT | (dict(embedding_size=12) if family == "Albert" else {}) | config
  torch.manual_seed(0)
  model = getattr(transformers, name)(getattr(transformers, f"{family}Config")(**sizes)).eval()
  with torch.no_grad():
    for parameter in model.parameters():
      parameter += 0.2 * torch.randn_like(parameter)
  return model


@pytest.fixture
def save(tmp_path):
  """Saves a model of transformers and returns the folder."""

  def save(model: torch.nn.Module, name: str = "model") -> str:
    model.save_pretrained(tmp_path / name)
    return str(tmp_path / name)

  return save


def make_rows() -> dict[str, np.ndarray]:
  """Rows of odd lengths with padding, segments and masked positions everywhere."""
  random = np.random.default_rng(0)
  shape = (len(LENGTHS), max(LENGTHS))
  real = np.arange(shape[1]) < np.array(LENGTHS)[:, None]
  return {
    "tokens": random.integers(1, SIZES["vocab_size"], shape) * real,
    "token_type_ids": random.integers(0, SIZES["type_vocab_size"], shape) * real,
    "example_ids": real.astype(np.int32),
    "positions": np.arange(shape[1]) * real,
    "mlm_positions": np.broadcast_to(np.arange(shape[1]), shape),
    "mlm_labels": random.integers(1, SIZES["vocab_size"], shape),
    "cls_positions": np.zeros((shape[0], 1), np.int32),
    "pair_labels": np.arange(shape[0]) % 2,
  }


def torch_inputs(rows: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
  """The arguments of a model of transformers."""
  names = {"input_ids": "tokens", "token_type_ids": "token_type_ids", "attention_mask": "example_ids"}
  return {theirs: torch.tensor(rows[ours], dtype=torch.long) for theirs, ours in names.items()}


def make_ours(model: dict, kind: str, **arguments):
  """Our model of a record: a function of (params, rows)."""
  config = encoder_config(ml_collections.ConfigDict(model | RUNTIME | {"dropout": 0.0, "attention_dropout": 0.0}))
  make = {
    "pretrain": lambda: PretrainingModel(config, rngs=nnx.Rngs(0), **arguments),
    "classify": lambda: ClassificationModel(config, rngs=nnx.Rngs(0), dropout=0.0, **arguments),
    "span": lambda: SpanModel(config, rngs=nnx.Rngs(0)),
  }[kind]
  definition = nnx.split(nnx.eval_shape(make))[0]
  return lambda params, rows: nnx.merge(definition, params)(rows, None)


def make_workdir(workdir, model: dict, params: dict, task: str, **data) -> str:
  """A workdir with one checkpoint, at step 3."""
  record = {"name": "tiny", "task": task, "model": model | RUNTIME, "data": data}
  save_config(ml_collections.ConfigDict(record), str(workdir))
  checkpoints = Checkpoints(str(workdir))
  checkpoints.save(TrainState(np.int32(3), params, {}), 3)
  checkpoints.close()
  return str(workdir)


def assert_close(ours, theirs, tolerance: float) -> None:
  """All differences within `tolerance` of the largest value."""
  theirs = theirs.detach().numpy() if isinstance(theirs, torch.Tensor) else np.asarray(theirs)
  assert ours.shape == theirs.shape
  np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance * np.abs(theirs).max())


def assert_equal(ours: dict, theirs: dict) -> None:
  """The same trees, bit by bit."""
  jax.tree.map(np.testing.assert_array_equal, ours, theirs)


def set_fields(folder, **fields) -> None:
  """Sets fields of a folder's config.json."""
  file = folder / "config.json"
  file.write_text(json.dumps(json.loads(file.read_text()) | fields))


def change(folder, function) -> None:
  """Rewrites the tensors, a dict that `function` changes."""
  tensors = safetensors.numpy.load_file(folder / "model.safetensors")
  function(tensors)
  safetensors.numpy.save_file(tensors, folder / "model.safetensors")


def fails(folder, message: str) -> None:
  """The folder is refused with a message, which names it."""
  with pytest.raises(InputError, match=message) as error:
    read_huggingface(str(folder))
  assert str(folder) in str(error.value)
