"""Pooler and heads, and the models that they make with an encoder."""

import jax
import jax.numpy as jnp
from flax import nnx

from albert_jax.models.dropout import dropout
from albert_jax.models.encoder import Encoder, make_encoder
from albert_jax.models.layers import Dense, LayerNorm, activation
from albert_jax.models.logical_sharding import constrain
from albert_jax.models.param import constant
from albert_jax.models.recurrent import RecurrentEncoder
from albert_jax.models.sizes import EncoderConfig


def gather(x_BTD: jax.Array, positions_BM: jax.Array) -> jax.Array:
  """x_BMD, the rows of x at the given positions."""
  return constrain(jnp.take_along_axis(x_BTD, positions_BM[:, :, None], axis=1), "BMD")


def encode(
  encoder: Encoder | RecurrentEncoder, batch: dict[str, jax.Array], rng: jax.Array | None, *, collect: bool = False
):
  """Encodes the rows of a batch: x_BTD, or what `Encoder` returns to collect.

  A row may hold as many examples as `cls_positions` has columns, N; one if there is no such field.
  """
  packed = "cls_positions" in batch and batch["cls_positions"].shape[1] > 1
  fields = (batch[name] for name in ("tokens", "token_type_ids", "example_ids", "positions"))
  return encoder(*fields, rng, packed=packed, collect=collect)


class MaskedLMHead(nnx.Module):
  """Dense to E → activation → LayerNorm → word table, transposed, + bias (arXiv 1810.04805, §3.1; released code)."""

  def __init__(self, config: EncoderConfig, *, rngs: nnx.Rngs):
    self.config = config
    self.dense = Dense((config.width,), (config.embedding,), "DE", rngs=rngs)
    self.norm = LayerNorm(config.embedding, "E")
    self.bias = constant("V", (config.vocab_size,), 0.0)

  def __call__(self, x_BMD: jax.Array, word_VE: jax.Array) -> jax.Array:
    """logits_BMV, float32."""
    x_BME = self.norm(activation(self.config.activation, constrain(self.dense(x_BMD), "BME")))
    word_VE = constrain(word_VE.astype(x_BME.dtype), "VE")
    logits_BMV = jnp.einsum("BME,VE->BMV", x_BME, word_VE, preferred_element_type=jnp.float32)
    return constrain(logits_BMV, "BMV") + self.bias[...]


class Pooler(nnx.Module):
  """Dense → tanh over an example's [CLS] vector."""

  def __init__(self, config: EncoderConfig, *, rngs: nnx.Rngs):
    self.dense = Dense((config.width,), (config.width,), "DD", rngs=rngs)

  def __call__(self, x_BND: jax.Array) -> jax.Array:
    """x_BND → x_BND."""
    return jnp.tanh(constrain(self.dense(x_BND), "BND"))


class PretrainingModel(nnx.Module):
  """Encoder with masked-LM head and, where there is a pair objective, pooler and two-way pair head."""

  def __init__(self, config: EncoderConfig, *, pair: bool, rngs: nnx.Rngs):
    self.encoder = make_encoder(config, rngs=rngs)
    self.mlm = MaskedLMHead(config, rngs=rngs)
    self.pooler = Pooler(config, rngs=rngs) if pair else None
    self.pair = Dense((config.width,), (2,), "DC", rngs=rngs) if pair else None

  def __call__(self, batch: dict[str, jax.Array], rng: jax.Array | None) -> tuple[jax.Array, jax.Array | None]:
    """Predicts the masked tokens and the pair labels.

    Args:
      batch: the contract of `data.pipeline`; labels and weights are not read.
      rng: for dropout, or None for none.

    Returns:
      mlm_logits_BMV and pair_logits_BNC (C = 2; None without a pair objective), float32.
    """
    x_BTD = encode(self.encoder, batch, rng)
    mlm_logits_BMV = self.mlm_logits(gather(x_BTD, batch["mlm_positions"]))
    return mlm_logits_BMV, None if self.pair is None else self.pair_logits(x_BTD, batch["cls_positions"])

  def mlm_logits(self, x_BMD: jax.Array) -> jax.Array:
    """logits_BMV for the encoder's output at masked positions, float32."""
    return self.mlm(x_BMD, self.encoder.embeddings.word[...])

  def pair_logits(self, x_BTD: jax.Array, cls_positions_BN: jax.Array) -> jax.Array:
    """logits_BNC, C = 2, for the encoder's output, float32."""
    pooled_BND = self.pooler(gather(x_BTD, cls_positions_BN))
    return constrain(self.pair(pooled_BND), "BNC").astype(jnp.float32)


class ClassificationModel(nnx.Module):
  """Encoder, pooler and a linear layer on the pooled [CLS] (arXiv 1810.04805, §4.1), one example a row."""

  def __init__(self, config: EncoderConfig, outputs: int, *, dropout: float, rngs: nnx.Rngs):
    self.dropout = dropout
    self.encoder = make_encoder(config, rngs=rngs)
    self.pooler = Pooler(config, rngs=rngs)
    self.classifier = Dense((config.width,), (outputs,), "DC", rngs=rngs)

  def __call__(self, batch: dict[str, jax.Array], rng: jax.Array | None) -> jax.Array:
    """logits_BC, float32; no rng means no dropout."""
    encoder_rng, head_rng = (None, None) if rng is None else jax.random.split(rng)
    pooled_BND = self.pooler(encode(self.encoder, batch, encoder_rng)[:, :1])
    logits_BNC = constrain(self.classifier(dropout(pooled_BND, self.dropout, head_rng)), "BNC")
    return logits_BNC[:, 0].astype(jnp.float32)


class SpanModel(nnx.Module):
  """Encoder and a linear layer that gives each position a logit as start and one as end (arXiv 1810.04805, §4.2)."""

  def __init__(self, config: EncoderConfig, *, rngs: nnx.Rngs):
    self.encoder = make_encoder(config, rngs=rngs)
    self.span = Dense((config.width,), (2,), "DC", rngs=rngs)

  def __call__(self, batch: dict[str, jax.Array], rng: jax.Array | None) -> tuple[jax.Array, jax.Array]:
    """start_logits_BT and end_logits_BT, float32, padding's included."""
    logits_BTC = constrain(self.span(encode(self.encoder, batch, rng)), "BTC").astype(jnp.float32)
    return logits_BTC[..., 0], logits_BTC[..., 1]
