"""Compiled programs on disk: any damage to one has it compiled again."""

import os

import jax
import jax.numpy as jnp
import pytest
from jax._src import compilation_cache
from jax._src.lru_cache import LRUCache

from albert_jax.runtime.compilation import keep_compiled
from albert_jax.runtime.compiled_entries import CheckedEntries

SETTINGS = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")


@pytest.fixture
def folder(tmp_path):
  """Where this test's compiled programs lie, and JAX keeps all of them, however quickly they were compiled."""
  before = [getattr(jax.config, name) for name in SETTINGS]
  opened = compilation_cache.get_file_cache
  for name, value in zip(SETTINGS, (None, 0)):
    jax.config.update(name, value)
  compilation_cache.reset_cache()
  keep_compiled(str(tmp_path))
  yield tmp_path / "compiled"
  for name, value in zip(SETTINGS, before):
    jax.config.update(name, value)
  compilation_cache.get_file_cache = opened
  compilation_cache.reset_cache()


def compile_and_run() -> float:
  return float(jax.jit(lambda x: jnp.tanh(x) * 3)(jnp.float32(0.5)))  # a new function: JAX looks for it on disk


def entries(folder) -> dict:
  return {path: path.read_bytes() for path in folder.iterdir() if path.name.endswith("-cache")}


def test_a_damaged_program_is_compiled_again(folder, capsys):
  value = compile_and_run()
  stored = entries(folder)
  assert stored
  compile_and_run()
  assert entries(folder) == stored
  for path, data in stored.items():
    path.write_bytes(data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 4]) + data[len(data) // 2 + 1 :])
  damaged = entries(folder)
  capsys.readouterr()
  assert compile_and_run() == value
  assert str(folder) in capsys.readouterr().err
  healed = entries(folder)
  assert healed.keys() == stored.keys()
  assert any(healed[path] != damaged[path] for path in damaged)


@pytest.mark.parametrize("max_size", [-1, 1000])
def test_every_fault_is_noticed(tmp_path, max_size):
  checked = CheckedEntries(LRUCache(str(tmp_path), max_size=max_size))
  value = bytes(range(50))
  assert checked.get("a[1]") is None
  checked.put("a[1]", value)
  (file,) = entries(tmp_path)
  data = file.read_bytes()
  faults = [data[:i] + bytes([data[i] ^ 1]) + data[i + 1 :] for i in range(len(data))]
  for fault in (*faults, *(data[:i] for i in range(len(data))), data + b"x"):
    file.write_bytes(fault)
    assert checked.get("a[1]") is None
    assert not file.exists()
    checked.put("a[1]", value)
    assert checked.get("a[1]") == value


def test_nothing_is_read_from_a_pipe(tmp_path):
  checked = CheckedEntries(LRUCache(str(tmp_path), max_size=-1))
  checked.put("a", b"program")
  (file,) = entries(tmp_path)
  file.unlink()
  os.mkfifo(file)
  assert checked.get("a") is None
  assert not file.exists()
