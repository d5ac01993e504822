import jax
import jax.numpy as jnp
import pytest

from albert_jax.training import parameters


def test_a_parameter_without_a_row_is_named():
  with pytest.raises(ValueError, match="encoder/attn/gate/kernel must match one row"):
    parameters.param_dims({"encoder": {"attn": {"gate": {"kernel": jnp.zeros((1, 2))}}}})


def test_a_parameter_of_another_rank_is_named():
  with pytest.raises(ValueError, match=r"pair/kernel has shape \(2,\)"):
    parameters.param_dims({"pair": {"kernel": jnp.zeros(2)}})


def test_rows_do_not_overlap(monkeypatch):
  monkeypatch.setattr(parameters, "DIMS", (*parameters.DIMS, (r"pair/.*", "C")))
  with pytest.raises(ValueError, match="matches 2"):
    parameters.param_dims({"pair": {"bias": jnp.zeros(2)}})


def test_vectors_are_biases_and_layer_norms():
  params = {
    "encoder": {
      "embeddings": {"word": (5, 4), "norm": {"scale": (4,)}},
      "attn": {"query": {"kernel": (2, 4, 2, 2), "bias": (2, 2, 2)}, "norm": {"bias": (2, 4)}},
    },
    "mlm": {"bias": (5,)},
  }
  shapes = jax.tree.map(jnp.zeros, params, is_leaf=lambda node: isinstance(node, tuple))
  assert parameters.vector_mask(shapes) == {
    "encoder": {
      "embeddings": {"word": False, "norm": {"scale": True}},
      "attn": {"query": {"kernel": False, "bias": True}, "norm": {"bias": True}},
    },
    "mlm": {"bias": True},
  }
