"""BERT and ALBERT in JAX. `albert_jax.load(path)` gives a trained model for use in Python."""


def __getattr__(name: str):
  if name == "load":  # on demand: the programs need not wait for its imports
    from albert_jax.predict.predictor import load

    return load
  raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
