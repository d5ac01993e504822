"""Our parameters and gradients as files that transformers and PyTorch read, and the gates between the two."""

import json
from pathlib import Path

import jax
import ml_collections
import numpy as np
import safetensors.numpy

from albert_jax.errors import InputError
from albert_jax.interop.fields import albert_layout, config_fields
from albert_jax.interop.tensor_files import FILE as TENSORS_FILE
from albert_jax.interop.tensor_names import entries, in_model, to_hf
from albert_jax.models.sizes import EncoderConfig
from albert_jax.tools.benchmarking.files import MODEL_FOLDER, load_gradient

LOSS_TOLERANCE, LEAST_COSINE = 1e-4, 0.999
_NEGLIGIBLE = 1e-4  # of the whole gradient's norm: a tensor below it may be nothing but rounding, as a key's bias is


def layout(encoder: EncoderConfig) -> tuple[int, int, int] | None:
  """(layers, inner, groups) of the ALBERT that equals an encoder, None for a BERT.

  Raises:
    InputError: neither shares weights in that way.
  """
  is_transformer = not encoder.is_recurrent
  if is_transformer and not encoder.has_projection and encoder.one_table == tuple(range(encoder.layers)):
    return None
  found = albert_layout(encoder.one_table) if is_transformer and encoder.one_table else None
  if found is None or not encoder.has_projection:
    raise InputError(
      "transformers has no model of this kind that shares weights in this way: compare a BERT (model.sharing none, no "
      "projection) or an ALBERT (all or groups:N for both parts, with a projection from E to D), or give no --peers."
    )
  return found


def their_tensors(params: dict, encoder: EncoderConfig) -> dict[str, np.ndarray]:
  """Parameters, or gradients, by the names that transformers gives them."""
  groups = layout(encoder)
  family = "bert" if groups is None else "albert"
  flat = {"/".join(entry.key for entry in path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(params)}
  return {
    in_model(family, entry.name): np.ascontiguousarray(to_hf(entry, np.asarray(flat[entry.path])))
    for entry in entries(family, params, inner=groups[1] if groups else 1)
  }


def save_model(folder: Path, params: dict, encoder: EncoderConfig, model: ml_collections.ConfigDict) -> None:
  """Writes a model that `transformers` loads, as `MODEL_FOLDER`; its heads have no dropout, since ours have none."""
  folder = folder / MODEL_FOLDER
  folder.mkdir()
  fields = config_fields({**model.to_dict(), "classifier_dropout": 0.0}, layout(encoder))
  (folder / "config.json").write_text(json.dumps(fields))
  safetensors.numpy.save_file(their_tensors(params, encoder), folder / TENSORS_FILE, {"format": "pt"})


def check_gates(ours: Path, theirs: Path, peer: str) -> dict[str, float]:
  """Compares the loss and the gradient of the first step, float32, without dropout.

  Returns:
    `loss_difference`, relative; `gradient_cosine`, the least of any tensor's, and of all parameters together.

  Raises:
    InputError: they do not compute the same; nothing may be timed.
  """
  our_loss, our_gradient = load_gradient(ours)
  their_loss, their_gradient = load_gradient(theirs)
  if missing := sorted(our_gradient.keys() ^ their_gradient.keys()):
    raise InputError(f"Gate: only one of us and {peer} has a gradient of {', '.join(missing[:3])}; nothing was timed.")
  difference = abs(our_loss - their_loss) / abs(their_loss)
  cosine = _least_cosine(our_gradient, their_gradient)
  if not (difference <= LOSS_TOLERANCE and cosine > LEAST_COSINE):
    raise InputError(
      f"Gate: at step 0 our loss is {our_loss:.6f}, that of {peer} is {their_loss:.6f} (relative difference "
      f"{difference:.1e}, at most {LOSS_TOLERANCE} may be), and the least cosine of the gradients is {cosine:.6f} "
      f"(more than {LEAST_COSINE} must be): they do not compute the same, and nothing was timed."
    )
  return {"loss_difference": difference, "gradient_cosine": cosine}


def _least_cosine(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> float:
  """The least cosine of a tensor and its peer, or of all together; NaN where one is NaN."""
  products = {name: _products(ours[name], theirs[name]) for name in ours}  # ours · theirs, ours², theirs²
  total = np.sum(list(products.values()), axis=0)
  counted = [p for p in products.values() if not max(p[1:]) < _NEGLIGIBLE**2 * max(total[1:])]
  return float(np.min([p[0] / max(np.sqrt(p[1] * p[2]), np.finfo(float).tiny) for p in [total, *counted]]))


def _products(a: np.ndarray, b: np.ndarray) -> np.ndarray:
  a, b = (array.astype(np.float64) for array in (a, b))
  return np.array([np.vdot(a, b), np.vdot(a, a), np.vdot(b, b)])
