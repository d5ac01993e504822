"""What several tests build or start: configs, batches, encoders, programs."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np

from albert_jax.models import sharing
from albert_jax.models.param import Axes
from albert_jax.models.sizes import EncoderConfig
from albert_jax.tasks import make_task

LIMIT = 900  # seconds that a program may take on a machine that is busy with other things
ROOT = Path(__file__).parent.parent


def override(config, values: dict):
  """Sets dotted keys of a config."""
  config.update_from_flattened_dict(values)
  return config


def run_program(*arguments: str, check: bool = True, **environment: str) -> subprocess.CompletedProcess:
  """Runs train.py or eval.py as a user would, on one CPU device."""
  result = subprocess.run(
    [sys.executable, *arguments], cwd=ROOT, env=_environment(environment), capture_output=True, text=True, timeout=LIMIT
  )
  assert not check or result.returncode == 0, result.stderr[-3000:]
  return result


def start_program(*arguments: str, **environment: str) -> subprocess.Popen:
  """As `run_program`, without waiting."""
  pipe = subprocess.PIPE
  return subprocess.Popen(
    [sys.executable, *arguments], cwd=ROOT, env=_environment(environment), stdout=pipe, stderr=pipe, text=True
  )


def _environment(more: dict) -> dict:
  """As tests/conftest.py sets JAX up: quick compilation, and programs that are kept for other tests."""
  quick = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.2"}
  programs = {"JAX_COMPILATION_CACHE_DIR": os.environ["ALBERT_JAX_TEST_PROGRAMS"]}
  return {**os.environ, "JAX_PLATFORMS": "cpu", **quick, **programs, **more}


def make_batch(config, seed: int) -> dict[str, np.ndarray]:
  """Random rows of uneven length and with uneven numbers of predictions, as the task's shapes ask for."""
  random = np.random.default_rng(seed)
  specs = make_task(config).batch_specs(config.train.batch_size)
  batch = {name: np.zeros(spec.shape, spec.dtype) for name, spec in specs.items()}
  rows, length = batch["tokens"].shape
  lengths = random.integers(length // 4, length, rows)
  real = np.arange(length) < lengths[:, None]
  batch["tokens"][:] = random.integers(5, config.model.vocab_size, (rows, length)) * real
  batch["token_type_ids"][:] = (np.arange(length) > lengths[:, None] // 2) & real
  batch["example_ids"][:] = real
  batch["positions"][:] = np.arange(length) * real
  slots = batch["mlm_positions"].shape
  batch["mlm_positions"][:] = random.integers(0, lengths[:, None], slots)
  batch["mlm_labels"][:] = random.integers(5, config.model.vocab_size, slots)
  batch["mlm_weights"][:] = np.arange(slots[1]) < random.integers(1, slots[1], rows)[:, None]
  batch["pair_labels"][:] = random.integers(0, 2, (rows, 1))
  batch["pair_weights"][:] = random.random((rows, 1)) < 0.7
  return batch


def make_encoder_config(attn, ffn, /, **shape) -> EncoderConfig:
  """The description of an encoder with the tables that two schemes give."""
  tables = {name: sharing.make_table(scheme, shape["layers"]) for name, scheme in (("attn", attn), ("ffn", ffn))}
  return EncoderConfig(**shape, attn_table=tables["attn"], ffn_table=tables["ffn"])


def make_axes(params):
  """`Axes` for a tree of parameters made by hand: stacks in attn and ffn, vectors by name."""

  def axes(path, leaf) -> Axes:
    name = jax.tree_util.keystr(path, simple=True, separator="/")
    is_stacked = name.startswith(("encoder/attn", "encoder/ffn"))
    return Axes(("G" if is_stacked else "X") + "X" * (leaf.ndim - 1), name.endswith("bias") or "/norm/" in name)

  return jax.tree_util.tree_map_with_path(axes, params)
