"""The published sizes of both families, and the frozen description of an encoder that the layers receive."""

import dataclasses
import functools

import jax.numpy as jnp

from albert_jax.errors import InputError, unknown
from albert_jax.models import sharing

KINDS = ("transformer", "lstm", "gru")
GATES = {"lstm": 4, "gru": 3}  # input, forget, cell, output; reset, update, new
ACTIVATIONS = ("gelu", "gelu_tanh", "relu")
REMAT = ("none", "full", "dots")
LAYER_LOOPS = ("auto", "scan", "unroll")
ATTENTION = ("auto", "xla", "cudnn", "splash")
# The matrices of each part of a layer, in the order in which it applies them.
MATRICES = {"attn": ("query", "key", "value", "output"), "ffn": ("up", "down")}
# Names of sharing tables, from the general to the special: the most special one that is set wins.
LEAVES = (*(matrix for part in MATRICES.values() for matrix in part), "norm", "bias")
DEPTH_EMBEDDINGS = ("none", "learned", "sinusoid")
RESIDUALS = ("one", "learned", "inverse")


@dataclasses.dataclass(frozen=True)
class DepthConfig:
  """Parts that each layer owns, whatever it shares; at step 0 the learned ones change nothing.

  Attributes:
    lora: rank R of an addition A·B to each matrix (arXiv 2106.09685; on shared weights 2410.20672); 0 = none.
    lora_on: the matrices that have one.
    embedding: what is added to the input of a layer (arXiv 1807.03819): "none", "learned" or "sinusoid".
    residual: what multiplies a residual branch: "one", "learned" (from 1) or "inverse", 1 / the number of layers that
      read the branch's last matrix (arXiv 2606.18524).
  """

  lora: int = 0
  lora_on: tuple[str, ...] = LEAVES[:-2]
  embedding: str = "none"
  residual: str = "one"

  @property
  def is_learned(self) -> bool:
    """Whether it has parameters."""
    return self.lora > 0 or "learned" in (self.embedding, self.residual)

  @property
  def is_plain(self) -> bool:
    """Whether there is nothing of it."""
    return not self.is_learned and self.embedding == "none" and self.residual == "one"

  def __post_init__(self):
    if self.lora < 0:
      raise InputError(f"model.depth.lora must be 0 or more, got {self.lora}.")
    for name in self.lora_on:
      if name not in LEAVES[:-2]:
        raise unknown("matrix in model.depth.lora_on", name, LEAVES[:-2])
    for key, value, known in (("embedding", self.embedding, DEPTH_EMBEDDINGS), ("residual", self.residual, RESIDUALS)):
      if value not in known:
        raise unknown(f"model.depth.{key}", value, known)


@dataclasses.dataclass(frozen=True)
class EncoderConfig:
  """An encoder's shape: the letters are those of docs/architecture.md.

  Attributes:
    vocab_size: V.
    embedding: E, width of the embedding tables. A biased projection leads to D where it differs from D, or where
      `project_embeddings` asks for one (Hugging Face's ALBERT always has it, Google's and BERT never do at E = D).
    width: D.
    layers: L.
    heads: H; each is D/H wide.
    ffn: F.
    positions: P, the longest example.
    token_types: Y, segments told apart.
    attn_table: weight group of each layer's attention, see `sharing`.
    ffn_table: the same for the feed-forward part.
    leaf_tables: (name, table) of what is shared otherwise than its part, by a name from `LEAVES`. `norm` is that of
      both LayerNorms, `bias` that of all matrices' biases.
    depth: what each layer has for itself.
    activation: "gelu" (erf form, BERT), "gelu_tanh" (ALBERT) or "relu".
    dropout: rate after the embeddings, the attention and the feed-forward part.
    attention_dropout: rate on attention probabilities.
    project_embeddings: always project from E to D.
    dtype: of the computation; parameters are float32.
    remat: what the backward pass computes again: "none", "full" (each layer from its input), "dots" (all but matrix
      products).
    layer_loop: "scan" (one compiled layer), "unroll" (L copies of it) or "auto": scan on TPUs, unroll elsewhere.
    attention: the implementation, see `attention`; "auto" chooses.
    kind: "transformer", "lstm" or "gru": a recurrent encoder has L bidirectional layers, H and F are 1.
    rnn_table: weight group of each recurrent layer; () = each its own.
  """

  vocab_size: int
  embedding: int
  width: int
  layers: int
  heads: int
  ffn: int
  positions: int = 512
  token_types: int = 2
  attn_table: sharing.Table = ()
  ffn_table: sharing.Table = ()
  leaf_tables: tuple[tuple[str, sharing.Table], ...] = ()
  depth: DepthConfig = DepthConfig()
  activation: str = "gelu_tanh"
  dropout: float = 0.0
  attention_dropout: float = 0.0
  project_embeddings: bool = False
  dtype: jnp.dtype = jnp.float32
  remat: str = "none"
  layer_loop: str = "scan"
  attention: str = "auto"
  kind: str = "transformer"
  rnn_table: sharing.Table = ()

  def __post_init__(self):
    for name in ("vocab_size", "embedding", "width", "layers", "heads", "ffn", "positions", "token_types"):
      if getattr(self, name) < 1:
        raise InputError(f"model.{name} must be at least 1, got {getattr(self, name)}.")
    if self.width % self.heads:
      raise InputError(
        f"model.width {self.width} is not a multiple of model.heads {self.heads}: each head takes width/heads columns."
      )
    for name in ("dropout", "attention_dropout"):
      if not 0 <= getattr(self, name) < 1:
        raise InputError(f"model.{name} must be in [0, 1), got {getattr(self, name)}.")
    named = {
      "activation": ACTIVATIONS,
      "remat": REMAT,
      "layer_loop": LAYER_LOOPS,
      "attention": ATTENTION,
      "kind": KINDS,
    }
    for name, known in named.items():
      if getattr(self, name) not in known:
        raise unknown(f"model.{name}", getattr(self, name), known)
    if self.is_recurrent:
      self._check_recurrent()
    elif self.rnn_table:
      raise InputError('model.sharing.rnn is for model.kind "lstm" or "gru"; leave it empty for a transformer.')

  def _check_recurrent(self) -> None:
    plain = {"heads": 1, "ffn": 1, "remat": "none"}
    for name, value in plain.items():
      if getattr(self, name) != value:
        raise InputError(f"model.{name} is for transformers: leave it at {value!r} for model.kind {self.kind}.")
    alike = {"attn": self.attn_table, "ffn": self.ffn_table, **dict(self.leaf_tables)}
    for name, table in alike.items():
      if any(table):
        raise InputError(f"model.sharing.{name} is for transformers: model.kind {self.kind} reads model.sharing.rnn.")
    if not self.depth.is_plain:
      raise InputError(f"model.depth is for transformers: leave it at its defaults for model.kind {self.kind}.")
    if self.width % 2:
      raise InputError(f"model.width {self.width} must be even for model.kind {self.kind}: each direction has a half.")

  @property
  def is_recurrent(self) -> bool:
    """Whether it is an LSTM or a GRU."""
    return self.kind in GATES

  @property
  def part_tables(self) -> dict[str, sharing.Table]:
    """The sharing table of each part of a layer."""
    if self.is_recurrent:
      return {"rnn": self.rnn_table or tuple(range(self.layers))}
    return {"attn": self.attn_table, "ffn": self.ffn_table}

  @property
  def head_dim(self) -> int:
    """K."""
    return self.width // self.heads

  @property
  def has_projection(self) -> bool:
    """Whether a projection leads from E to D."""
    return self.project_embeddings or self.embedding != self.width

  @functools.cached_property
  def tables(self) -> dict[str, sharing.Table]:
    """The sharing table of each parameter of a layer by its path, such as "attn/query/kernel"."""
    if self.is_recurrent:
      paths = (f"rnn/{module}/{leaf}" for module in ("input", "hidden") for leaf in ("kernel", "bias"))
      return dict.fromkeys(paths, self.part_tables["rnn"])
    special, found = dict(self.leaf_tables), {}
    for part, of_part in self.part_tables.items():
      for matrix in MATRICES[part]:
        of_matrix = special.get(matrix, of_part)
        found[f"{part}/{matrix}/kernel"] = of_matrix
        found[f"{part}/{matrix}/bias"] = special.get("bias", of_matrix)
      found[f"{part}/norm/scale"] = found[f"{part}/norm/bias"] = special.get("norm", of_part)
    return found

  @property
  def one_table(self) -> sharing.Table | None:
    """The table of all parameters of a layer, if they have the same, and nothing of their own by depth."""
    tables = {*self.tables.values()}
    return tables.pop() if len(tables) == 1 and self.depth.is_plain else None

  def groups(self, module: str) -> tuple[int, int]:
    """The numbers of weight groups of a module's two parameters, e.g. of "attn/query": kernel and bias."""
    leaves = ("scale", "bias") if module.endswith("norm") else ("kernel", "bias")
    first, second = (sharing.num_groups(self.tables[f"{module}/{leaf}"]) for leaf in leaves)
    return first, second


def _albert(layers: int, width: int, heads: int, dropout_v1: float = 0.1) -> dict:
  return dict(
    vocab_size=30_000, embedding=128, width=width, layers=layers, heads=heads, ffn=4 * width, dropout_v1=dropout_v1
  )


def _bert(layers: int, width: int) -> dict:
  return dict(vocab_size=30_522, embedding=width, width=width, layers=layers, heads=width // 64, ffn=4 * width)


# arXiv 1909.11942, table 1 and the released models (the paper says H/64 heads; the released xlarge has 16).
# `dropout_v1` is the first release's rate; version 2 has none at any size.
ALBERT = {
  "base": _albert(12, 768, 12),
  "large": _albert(24, 1024, 16),
  "xlarge": _albert(24, 2048, 16),
  "xxlarge": _albert(12, 4096, 64, dropout_v1=0.0),
}

# arXiv 1810.04805, section 3, and the smaller models of arXiv 1908.08962. Heads are 64 wide.
BERT = {
  "tiny": _bert(2, 128),
  "mini": _bert(4, 256),
  "small": _bert(4, 512),
  "medium": _bert(8, 512),
  "base": _bert(12, 768),
  "large": _bert(24, 1024),
}
