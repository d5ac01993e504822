"""The training FLOPs of a token, by formula: what MFU is measured against (arXiv 2204.02311, appendix B)."""

from albert_jax.models.sizes import GATES, EncoderConfig


def flops_per_token(config: EncoderConfig, *, length: int, predictions: int) -> float:
  """FLOPs of forward and backward per position of a row; the backward pass costs twice the forward.

  Counted are the matrix products of the layers (shared weights cost what unshared ones do), attention over the whole
  row, low-rank additions, the embedding projection and the masked-LM head. Recomputation, softmax, LayerNorm and the
  pooler are not.

  Args:
    config: the encoder.
    length: T, positions a row.
    predictions: M, positions a row at which the masked-LM head is applied.
  """
  embedding = 2 * config.embedding * config.width if config.has_projection else 0
  head = 2 * config.embedding * (config.width + config.vocab_size) * predictions / length
  return 3 * (config.layers * _layer(config, length) + embedding + head)


def _layer(config: EncoderConfig, length: int) -> float:
  """The forward pass of a layer."""
  if config.is_recurrent:
    hidden = config.width // 2  # of a direction
    return 2 * 2 * GATES[config.kind] * hidden * (config.width + hidden)
  projections = 2 * 4 * config.width * config.width
  inner = {"up": (config.width, config.ffn), "down": (config.ffn, config.width)}
  sizes = (inner.get(name, (config.width, config.width)) for name in config.depth.lora_on)
  low_rank = 2 * config.depth.lora * sum(map(sum, sizes))
  feed_forward = 2 * 2 * config.width * config.ffn
  attention = 2 * 2 * length * config.width
  return projections + feed_forward + attention + low_rank
