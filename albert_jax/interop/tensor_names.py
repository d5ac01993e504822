"""The one table of names: what each of our parameters is called in Hugging Face's BERT and ALBERT.

Names are written as in a bare model, without "bert." or "albert." before them.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence

import jax
import numpy as np
from flax import nnx, traverse_util

from albert_jax.models.encoder import Encoder
from albert_jax.models.heads import MaskedLMHead, Pooler
from albert_jax.models.layers import Dense
from albert_jax.models.materialise import materialise
from albert_jax.models.sizes import EncoderConfig

# Modules outside the layers. The heads are not inside `bert.` or `albert.`.
_EMBEDDINGS = {
  "encoder/embeddings/word": "embeddings.word_embeddings",
  "encoder/embeddings/position": "embeddings.position_embeddings",
  "encoder/embeddings/type": "embeddings.token_type_embeddings",
  "encoder/embeddings/norm": "embeddings.LayerNorm",
}
_LABELLED_HEADS = {"classifier": "classifier", "span": "qa_outputs"}
_MODULES = {
  "bert": {
    **_EMBEDDINGS,
    **_LABELLED_HEADS,
    "pooler/dense": "pooler.dense",
    "mlm": "cls.predictions",
    "mlm/dense": "cls.predictions.transform.dense",
    "mlm/norm": "cls.predictions.transform.LayerNorm",
    "pair": "cls.seq_relationship",
  },
  "albert": {
    **_EMBEDDINGS,
    **_LABELLED_HEADS,
    "encoder/embeddings/projection": "encoder.embedding_hidden_mapping_in",
    "pooler/dense": "pooler",
    "mlm": "predictions",
    "mlm/dense": "predictions.dense",
    "mlm/norm": "predictions.LayerNorm",
    "pair": "sop_classifier.classifier",
  },
}
_LAYERS = {
  "bert": {
    "encoder/attn/query": "attention.self.query",
    "encoder/attn/key": "attention.self.key",
    "encoder/attn/value": "attention.self.value",
    "encoder/attn/output": "attention.output.dense",
    "encoder/attn/norm": "attention.output.LayerNorm",
    "encoder/ffn/up": "intermediate.dense",
    "encoder/ffn/down": "output.dense",
    "encoder/ffn/norm": "output.LayerNorm",
  },
  "albert": {
    "encoder/attn/query": "attention.query",
    "encoder/attn/key": "attention.key",
    "encoder/attn/value": "attention.value",
    "encoder/attn/output": "attention.dense",
    "encoder/attn/norm": "attention.LayerNorm",
    "encoder/ffn/up": "ffn",
    "encoder/ffn/down": "ffn_output",
    "encoder/ffn/norm": "full_layer_layer_norm",
  },
}
_HEAD_PARTS = ("mlm", "pair", "classifier", "span")


@dataclasses.dataclass(frozen=True)
class Entry:
  """One tensor of Hugging Face's.

  Attributes:
    name: of the tensor, in a bare model.
    path: of our parameter that holds it, "encoder/attn/query/kernel".
    group: the entry of our parameter's leading axis, or None where it has none.
    shape: of the tensor. Their kernels are [outputs, inputs].
  """

  name: str
  path: str
  group: int | None
  shape: tuple[int, ...]

  @property
  def is_kernel(self) -> bool:
    """Whether it is transposed."""
    return self.path.endswith("kernel")


def entries(family: str, specs: Mapping, *, inner: int = 1) -> list[Entry]:
  """Every tensor of a model.

  Args:
    family: "bert" or "albert".
    specs: our parameters' shapes, a nested dict.
    inner: layers inside a group of ALBERT.
  """
  flat = traverse_util.flatten_dict(dict(specs), sep="/")
  return [entry for path in flat for entry in _entries(family, path, flat, inner)]


def _entries(family: str, path: str, flat: Mapping, inner: int) -> Iterator[Entry]:
  module, _, leaf = path.rpartition("/")
  if path in _EMBEDDINGS:
    module, leaf = path, "weight"
  suffix = "bias" if leaf == "bias" else "weight"
  if module not in _LAYERS[family]:
    yield Entry(f"{_MODULES[family][module]}.{suffix}", path, None, _hf_shape(path, flat, stacked=False))
    return
  for group in range(flat[path].shape[0]):
    layer = (
      f"albert_layer_groups.{group // inner}.albert_layers.{group % inner}" if family == "albert" else f"layer.{group}"
    )
    name = f"encoder.{layer}.{_LAYERS[family][module]}.{suffix}"
    yield Entry(name, path, group, _hf_shape(path, flat, stacked=True))


def _hf_shape(path: str, flat: Mapping, *, stacked: bool) -> tuple[int, ...]:
  shape = flat[path].shape[stacked:]
  if path.endswith("kernel"):
    outputs = int(np.prod(flat[path.replace("kernel", "bias")].shape[stacked:]))
    return outputs, int(np.prod(shape)) // outputs
  return shape if path in _EMBEDDINGS else (int(np.prod(shape)),)


def from_hf(entry: Entry, tensor: np.ndarray, shape: Sequence[int]) -> np.ndarray:
  """A Hugging Face tensor as (an entry of) our parameter, of the given shape."""
  return (tensor.T if entry.is_kernel else tensor).reshape(shape)


def to_hf(entry: Entry, array: np.ndarray) -> np.ndarray:
  """Our parameter as the Hugging Face tensor that an entry names."""
  array = array if entry.group is None else array[entry.group]
  return array.reshape(entry.shape[::-1]).T if entry.is_kernel else array.reshape(entry.shape)


def in_model(family: str, name: str) -> str:
  """The name that a tensor has in a model with a head, from that in a bare one."""
  heads = tuple(f"{_MODULES[family][part]}." for part in _HEAD_PARTS)
  return name if name.startswith(heads) else f"{family}.{name}"


def part_modules(family: str) -> dict[str, str]:
  """Hugging Face's module that holds each part outside the encoder."""
  return {"pooler": "pooler", **{part: _MODULES[family][part] for part in _HEAD_PARTS}}


def param_specs(config: EncoderConfig, parts: Sequence[str], outputs: int = 2) -> dict:
  """Shapes of our parameters: the encoder and the named parts, the classifier with `outputs` outputs."""
  make: dict[str, Callable[[nnx.Rngs], nnx.Module]] = {
    "encoder": lambda rngs: Encoder(config, rngs=rngs),
    "mlm": lambda rngs: MaskedLMHead(config, rngs=rngs),
    "pooler": lambda rngs: Pooler(config, rngs=rngs),
    "pair": lambda rngs: Dense((config.width,), (2,), "DC", rngs=rngs),
    "classifier": lambda rngs: Dense((config.width,), (outputs,), "DC", rngs=rngs),
    "span": lambda rngs: Dense((config.width,), (2,), "DC", rngs=rngs),
  }

  def init(part: str):
    return nnx.to_pure_dict(nnx.state(make[part](nnx.Rngs(0))))

  return {part: jax.eval_shape(lambda part=part: init(part)) for part in ("encoder", *parts)}


def unshare(params: Mapping, config: EncoderConfig) -> dict:
  """The same function with weights of its own for every layer, and nothing by depth beside them."""
  return {**params, "encoder": jax.tree.map(np.asarray, materialise(params["encoder"], config))}
