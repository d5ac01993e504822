"""A trained model as an ONNX graph, node by node. Weights that layers share are stored once.

Imported only where it is asked for: the package onnx is an extra.
"""

import math
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from albert_jax.errors import InputError
from albert_jax.interop.serving import INPUTS, ServingModel
from albert_jax.models.depth import fixed_inputs
from albert_jax.models.layers import LAYER_NORM_EPSILON
from albert_jax.models.sizes import MATRICES

FILE = "model.onnx"
OPSET = 20  # the first with Gelu
IR_VERSION = 9  # what belongs to it
ACTIVATIONS = {"gelu": ("Gelu", {}), "gelu_tanh": ("Gelu", {"approximate": "tanh"}), "relu": ("Relu", {})}


def write_onnx(model: ServingModel, folder: Path) -> None:
  """Writes the model, for any batch and length; inputs (int64) and outputs (float32) are those of `ServingModel`."""
  if model.config.is_recurrent:
    raise InputError(f"ONNX is written of transformers, and this is a {model.config.kind}: take --format=stablehlo.")
  graph = _Graph(model)
  x = graph.encoder()
  outputs = {"last_hidden_state": (x, ["batch", "length", model.config.width]), **graph.heads(x)}
  nodes = [*graph.nodes, *(helper.make_node("Identity", [value], [name]) for name, (value, _) in outputs.items())]
  proto = helper.make_model(
    helper.make_graph(
      nodes,
      "albert_jax",
      [helper.make_tensor_value_info(name, onnx.TensorProto.INT64, ["batch", "length"]) for name in INPUTS],
      [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, dims) for name, (_, dims) in outputs.items()],
      list(graph.initializers.values()),
    ),
    opset_imports=[helper.make_opsetid("", OPSET)],
    ir_version=IR_VERSION,
    producer_name="albert_jax",
  )
  onnx.checker.check_model(proto, full_check=True)
  onnx.save(proto, folder / FILE)


class _Graph:
  """Collects nodes and weights; a method that adds nodes returns the name of their value."""

  def __init__(self, model: ServingModel):
    self.config, self.params = model.config, model.params
    self.nodes: list[onnx.NodeProto] = []
    self.initializers: dict[str, onnx.TensorProto] = {}

  def encoder(self) -> str:
    """x_BTD."""
    x = self._embeddings()
    mask_B11T = self.op("Unsqueeze", self.op("Cast", "attention_mask", to=onnx.TensorProto.BOOL), self.array([1, 2]))
    for layer in range(self.config.layers):
      if (added := self._own(layer, "embedding")) is not None:
        x = self.op("Add", x, self.weight(f"depth/embedding/{layer}", added))
      x = self._add_and_norm(layer, "attn", x, self._attention(layer, x, mask_B11T))
      x = self._add_and_norm(layer, "ffn", x, self._feed_forward(layer, x))
    return x

  def heads(self, x: str) -> dict[str, tuple[str, list]]:
    """The outputs of the heads: value and dimensions by name."""
    found = {}
    if "mlm" in self.params:
      dense = self.activation(self.dense("mlm/dense", x, self.params["mlm"]["dense"]))
      word_EV = self.op("Transpose", "embeddings/word", perm=[1, 0])
      logits = self.op("MatMul", self.norm("mlm/norm", dense, self.params["mlm"]["norm"]), word_EV)
      bias = self.weight("mlm/bias", self.params["mlm"]["bias"])
      found["mlm_logits"] = self.op("Add", logits, bias), ["batch", "length", self.config.vocab_size]
    for head, output in (("pair", "pair_logits"), ("classifier", "logits")):
      if head in self.params:
        first_BD = self.op("Gather", x, self.array(0), axis=1)
        pooled_BD = self.op("Tanh", self.dense("pooler/dense", first_BD, self.params["pooler"]["dense"]))
        classes = self.params[head]["bias"].shape[0]
        found[output] = self.dense(head, pooled_BD, self.params[head]), ["batch", classes]
    if "span" in self.params:
      span_BTC = self.dense("span", x, self.params["span"])
      for place, output in enumerate(("start_logits", "end_logits")):
        found[output] = self.op("Gather", span_BTC, self.array(place), axis=2), ["batch", "length"]
    return found

  def _embeddings(self) -> str:
    tables = self.params["encoder"]["embeddings"]
    length = self.op("Gather", self.op("Shape", "input_ids"), self.array(1))
    positions = self.op("Range", self.array(0), length, self.array(1))
    ids = {"word": "input_ids", "type": "token_type_ids", "position": positions}
    word, kind, position = (
      self.op("Gather", self.weight(f"embeddings/{name}", tables[name]), where) for name, where in ids.items()
    )
    x = self.norm("embeddings/norm", self.op("Add", self.op("Add", word, position), kind), tables["norm"])
    return self.dense("embeddings/projection", x, tables["projection"]) if self.config.has_projection else x

  def _attention(self, layer: int, x: str, mask_B11T: str) -> str:
    heads, head_dim = self.config.heads, self.config.head_dim
    q, k, v = (
      self.op("Reshape", self._matrix(layer, "attn", name, x), self.array([0, 0, heads, head_dim]))
      for name in ("query", "key", "value")
    )
    q_BHTK, v_BHTK = (self.op("Transpose", value, perm=[0, 2, 1, 3]) for value in (q, v))
    k_BHKT = self.op("Transpose", k, perm=[0, 2, 3, 1])
    q_BHTK = self.op("Mul", q_BHTK, self.array(np.float32(1 / math.sqrt(head_dim))))
    scores = self.op("Where", mask_B11T, self.op("MatMul", q_BHTK, k_BHKT), self.array(np.finfo(np.float32).min))
    mixed = self.op("MatMul", self.op("Softmax", scores, axis=-1), v_BHTK)
    rows = self.op("Reshape", self.op("Transpose", mixed, perm=[0, 2, 1, 3]), self.array([0, 0, heads * head_dim]))
    return self._matrix(layer, "attn", "output", rows)

  def _feed_forward(self, layer: int, x: str) -> str:
    return self._matrix(layer, "ffn", "down", self.activation(self._matrix(layer, "ffn", "up", x)))

  def _matrix(self, layer: int, part: str, name: str, x: str) -> str:
    """A dense of a layer, with its weight group and, where it has one, its own low-rank addition."""
    path = f"{part}/{name}"
    groups = {leaf: self.config.tables[f"{path}/{leaf}"][layer] for leaf in ("kernel", "bias")}
    stacks = self.params["encoder"][part][name]
    leaves = {leaf: stacks[leaf][group] for leaf, group in groups.items()}
    labels = {leaf: f"{path}/{leaf}/{group}" for leaf, group in groups.items()}
    a, b = self._own(layer, part, name, "a"), self._own(layer, part, name, "b")
    if name in MATRICES[part] and a is not None:
      rank = a.shape[-1]
      leaves["kernel"] = leaves["kernel"] + (a.reshape(-1, rank) @ b.reshape(rank, -1)).reshape(leaves["kernel"].shape)
      labels["kernel"] = f"{path}/kernel/of_layer_{layer}"
    return self._product(labels["kernel"], leaves["kernel"], labels["bias"], leaves["bias"], x)

  def _add_and_norm(self, layer: int, part: str, x: str, branch: str) -> str:
    if (scale := self._own(layer, f"residual_{part}")) is not None:
      branch = self.op("Mul", branch, self.weight(f"depth/residual_{part}/{layer}", scale))
    groups = {leaf: self.config.tables[f"{part}/norm/{leaf}"][layer] for leaf in ("scale", "bias")}
    scale, bias = (
      self.weight(f"{part}/norm/{leaf}/{group}", self.params["encoder"][part]["norm"][leaf][group])
      for leaf, group in groups.items()
    )
    return self._norm(self.op("Add", x, branch), scale, bias)

  def _own(self, layer: int, *path: str) -> np.ndarray | None:
    """What a layer has for itself (`models/depth.py`), None where it has none."""
    fixed = fixed_inputs(self.config).get("/".join(path))
    found = self.params["encoder"].get("depth", {}) if fixed is None else fixed
    for key in path if fixed is None else ():
      found = found.get(key, {})
    return None if isinstance(found, dict) else np.asarray(found[layer], np.float32)

  def activation(self, x: str) -> str:
    kind, attributes = ACTIVATIONS[self.config.activation]
    return self.op(kind, x, **attributes)

  def dense(self, name: str, x: str, params: dict) -> str:
    return self._product(f"{name}/kernel", params["kernel"], f"{name}/bias", params["bias"], x)

  def norm(self, name: str, x: str, params: dict) -> str:
    return self._norm(x, *(self.weight(f"{name}/{leaf}", params[leaf]) for leaf in ("scale", "bias")))

  def _norm(self, x: str, scale: str, bias: str) -> str:
    return self.op("LayerNormalization", x, scale, bias, axis=-1, epsilon=LAYER_NORM_EPSILON)

  def _product(self, kernel_name: str, kernel: np.ndarray, bias_name: str, bias: np.ndarray, x: str) -> str:
    product = self.op("MatMul", x, self.weight(kernel_name, kernel.reshape(-1, bias.size)))
    return self.op("Add", product, self.weight(bias_name, bias.reshape(-1)))

  def op(self, kind: str, *inputs: str, **attributes) -> str:
    """Adds a node."""
    output = f"{kind}_{len(self.nodes)}"
    self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
    return output

  def weight(self, name: str, array: np.ndarray) -> str:
    """Adds an array, unless it is there under this name."""
    if name not in self.initializers:
      self.initializers[name] = numpy_helper.from_array(np.ascontiguousarray(array, np.float32), name)
    return name

  def array(self, value) -> str:
    """Adds a constant: int64, or float32 where it is that already."""
    name = f"constant_{len(self.initializers)}"
    self.initializers[name] = numpy_helper.from_array(np.asarray(value), name)
    return name
