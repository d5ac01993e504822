import importlib

import pytest

from albert_jax.tasks import resolve
from tests.builders import override


@pytest.fixture
def make_config(tmp_path_factory):
  """(name, arguments, values) → a config with the argument `test`, completed; samples are written once."""
  cache = str(tmp_path_factory.getbasetemp() / "labelled")

  def make(name: str, arguments: str = "", values: dict | None = None):
    config = importlib.import_module(f"configs.{name}").get_config(",".join(filter(None, (arguments, "test"))))
    config = override(config, {"data.cache_dir": cache, **(values or {})})
    resolve(config, None)
    return config

  return make
