"""Tests run on eight fake CPU devices, whatever the machine has."""

import atexit
import importlib.util
import os
import shutil
import socket
import sys
import tempfile
from pathlib import Path

os.environ["JAX_PLATFORMS"] = "cpu"
import jax
import pytest

from tests import hub_server
from tests.builders import make_batch, override

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_disable_most_optimizations", True)  # of LLVM: here compiling takes longer than running
if "ALBERT_JAX_TEST_PROGRAMS" not in os.environ:  # pytest's own process; the workers of pytest-xdist find it set
  os.environ["ALBERT_JAX_TEST_PROGRAMS"] = tempfile.mkdtemp(prefix="albert_jax_programs_")
  atexit.register(shutil.rmtree, os.environ["ALBERT_JAX_TEST_PROGRAMS"], ignore_errors=True)
jax.config.update("jax_compilation_cache_dir", os.environ["ALBERT_JAX_TEST_PROGRAMS"])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)

sys.path.insert(0, str(Path(__file__).parent.parent))  # for configs/, as for the programs in the root

# Tests that need a package which may not be there: of the extra `test-all`, or one that has no release for this Python.
NEEDS = {
  "apache_beam": ["data/examples/test_beam.py"],
  "onnxruntime": ["interop/test_serving.py"],
  "torch": ["interop", "predict", "tools/benchmarking/test_weights.py"],
}
MISSING = [package for package in NEEDS if importlib.util.find_spec(package) is None]
collect_ignore = [path for package in MISSING for path in NEEDS[package]]


def pytest_report_header() -> list[str]:
  """Says what is left out."""
  return [f"left out, since {package} is not installed: {', '.join(NEEDS[package])}" for package in MISSING]


@pytest.fixture(scope="session")
def corpus(tmp_path_factory) -> str:
  """A source of a few hundred short documents with some structure to learn."""
  names = ["Ada", "Bell", "Cole", "Dora", "Egon", "Finn", "Gina", "Hugo", "Ines", "Jan"]
  verbs = ["sees", "hears", "helps", "finds", "calls", "thanks"]
  places = ["garden", "harbour", "library", "market", "station", "theatre"]
  documents = []
  for number in range(240):
    lines = []
    for line in range(4 + number % 5):
      name, other = names[(number + line) % 10], names[(number * 3 + line * 7 + 1) % 10]
      lines.append(f"{name} {verbs[(number + 2 * line) % 6]} {other} in the {places[(number * line) % 6]} today.")
    documents.append("\n".join(lines))
  path = tmp_path_factory.mktemp("corpus") / "text.txt"
  path.write_text("\n\n".join(documents) + "\n", encoding="utf-8")
  return f"files:{path}"


@pytest.fixture(scope="session")
def tiny_overrides(corpus, tmp_path_factory) -> dict:
  """Keys that make any config's `test` variant run on `corpus`; prepared once for all tests."""
  return {
    "data.source": corpus,
    "data.tokenizer": "train:sentencepiece:50",
    "data.cache_dir": str(tmp_path_factory.mktemp("cache")),
    "model.vocab_size": 56,
  }


@pytest.fixture
def tiny_config(tiny_overrides):
  """albert_tiny:test on `corpus`, without dropout."""
  from configs import albert_tiny

  return override(albert_tiny.get_config("test"), tiny_overrides)


@pytest.fixture
def coordinator():
  """An address for process 0 of a job. The port is held, so that nobody else gets it before process 0 listens to it."""
  with socket.socket() as held:
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)  # as gRPC does
    held.bind(("", 0))
    yield f"localhost:{held.getsockname()[1]}"


@pytest.fixture
def small_config():
  """A model that every mesh of eight devices can split, without dropout."""
  from configs import albert_tiny

  config = override(albert_tiny.get_config("test"), {"model.vocab_size": 64, "model.heads": 4})
  return override(config, {"model.sharing.attn": "cycle:2", "optimizer.name": "lamb"})


@pytest.fixture
def small_batch(small_config):
  return make_batch(small_config, seed=0)


@pytest.fixture
def hub(tmp_path, monkeypatch):
  """An empty Hugging Face Hub on loopback, in place of the real one."""
  with hub_server.serve(tmp_path / "hub", monkeypatch) as hub:
    yield hub
