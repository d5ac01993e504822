"""The published sizes of both families, and the frozen description of an encoder that the layers receive."""

import dataclasses

import jax.numpy as jnp

from albert_jax.errors import InputError, unknown
from albert_jax.models import sharing

ACTIVATIONS = ("gelu", "gelu_tanh", "relu")
REMAT = ("none", "full", "dots")
LAYER_LOOPS = ("auto", "scan", "unroll")
ATTENTION = ("auto", "xla", "cudnn", "splash")


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
    activation: "gelu" (erf form, BERT), "gelu_tanh" (ALBERT) or "relu".
    dropout: rate after the embeddings, the attention and the feed-forward part.
    attention_dropout: rate on attention probabilities.
    project_embeddings: always project from E to D.
    dtype: of the computation; parameters are float32.
    remat: what the backward pass computes again: "none", "full" (each layer from its input), "dots" (all but matrix
      products).
    layer_loop: "scan" (one compiled layer), "unroll" (L copies of it) or "auto": scan on TPUs, unroll elsewhere.
    attention: the implementation, see `attention`; "auto" chooses.
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
  activation: str = "gelu_tanh"
  dropout: float = 0.0
  attention_dropout: float = 0.0
  project_embeddings: bool = False
  dtype: jnp.dtype = jnp.float32
  remat: str = "none"
  layer_loop: str = "scan"
  attention: str = "auto"

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
    named = {"activation": ACTIVATIONS, "remat": REMAT, "layer_loop": LAYER_LOOPS, "attention": ATTENTION}
    for name, known in named.items():
      if getattr(self, name) not in known:
        raise unknown(f"model.{name}", getattr(self, name), known)

  @property
  def head_dim(self) -> int:
    """K."""
    return self.width // self.heads

  @property
  def has_projection(self) -> bool:
    """Whether a projection leads from E to D."""
    return self.project_embeddings or self.embedding != self.width

  @property
  def tables(self) -> dict[str, sharing.Table]:
    """The sharing table of each part of a layer."""
    return {"attn": self.attn_table, "ffn": self.ffn_table}


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
