"""Configs: the schema of all keys, and the records made from it."""

from albert_jax.config.records import (
  FILE,
  adopt_earlier,
  check_config,
  differences,
  load_config,
  make_settings,
  save_config,
)

__all__ = ["FILE", "adopt_earlier", "check_config", "differences", "load_config", "make_settings", "save_config"]
