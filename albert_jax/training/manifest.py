"""The earlier name of `python -m albert_jax.checkpoints.manifest`, which messages of older versions give."""

import runpy

if __name__ == "__main__":
  runpy.run_module("albert_jax.checkpoints.manifest", run_name="__main__")
