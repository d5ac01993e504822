"""Attention proper, softmax(QKᵀ)V inside each packed example, by the implementation that suits the hardware.

All take and give the same arrays and agree up to rounding:

- "xla": plain products and a float32 softmax. The only one with dropout on the probabilities.
- "cudnn": cuDNN's fused attention, on GPUs (FlashAttention, arXiv 2205.14135); bfloat16, heads of 8·n ≤ 128.
- "splash": the Pallas kernel for TPUs that comes with JAX; lengths of 128·n. On a CPU it is interpreted, for tests.
"""

import functools

import jax
import jax.numpy as jnp
from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as splash
from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_mask as splash_mask

from albert_jax.errors import InputError
from albert_jax.models.dropout import dropout
from albert_jax.models.logical_sharding import constrain, current_rules, map_shards

SPLASH_BLOCK = 128  # lengths are multiples of it
SPLASH_LARGEST_BLOCK = 512
CUDNN_LARGEST_HEAD = 128


def attend(
  q_BTHK: jax.Array,
  k_BSHK: jax.Array,
  v_BSHK: jax.Array,
  rng: jax.Array | None,
  *,
  example_ids_BT: jax.Array,
  packed: bool,
  implementation: str,
  dropout_rate: float,
) -> jax.Array:
  """Mixes the values of each example's positions.

  Args:
    q_BTHK: queries, already divided by √K.
    k_BSHK: keys.
    v_BSHK: values.
    rng: for dropout on the probabilities, or None for none.
    example_ids_BT: 0 in padding, n in the row's n-th example; attention stays inside equal numbers.
    packed: whether a row may hold more than one example.
    implementation: "auto", or a name from the list above.
    dropout_rate: of the probabilities.

  Returns:
    mixed_BTHK, in the dtype of the values. What it holds in padding differs between implementations.

  Raises:
    InputError: the implementation cannot do this.
  """
  has_dropout, platform = rng is not None and dropout_rate > 0, current_rules().platform
  name = select_attention(
    implementation,
    platform=platform,
    dtype=v_BSHK.dtype,
    length=q_BTHK.shape[1],
    head_dim=q_BTHK.shape[3],
    has_dropout=has_dropout,
  )
  if name == "xla":
    return _xla(q_BTHK, k_BSHK, v_BSHK, example_ids_BT, dropout_rate if has_dropout else 0.0, rng)
  if name == "cudnn":
    return _cudnn(q_BTHK, k_BSHK, v_BSHK, example_ids_BT, packed)
  return map_shards(
    functools.partial(_splash, interpret=platform == "cpu"),
    (q_BTHK, k_BSHK, v_BSHK, example_ids_BT),
    ("BTHK", "BSHK", "BSHK", "BT"),
    "BTHK",
  )


def select_attention(
  asked: str, *, platform: str, dtype: jnp.dtype, length: int, head_dim: int, has_dropout: bool
) -> str:
  """The implementation to use.

  "auto" takes a fused one wherever there is one that can: it never holds the probabilities, [B, H, T, T], in memory.
  Below 512 positions that saves little on TPUs, and plain XLA stays.

  Raises:
    InputError: the one that is asked for cannot do this.
  """
  needs = {
    "xla": {},
    "cudnn": {
      f"a GPU (this is a {platform.upper()})": platform == "gpu",
      'model.dtype "bfloat16"': dtype == jnp.bfloat16,
      f"heads of 8·n ≤ {CUDNN_LARGEST_HEAD} columns (these have {head_dim})": head_dim % 8 == 0
      and head_dim <= CUDNN_LARGEST_HEAD,
      "model.attention_dropout 0": not has_dropout,
    },
    "splash": {
      "a TPU (this is a GPU)": platform != "gpu",
      f"rows of {SPLASH_BLOCK}·n positions (these have {length})": length % SPLASH_BLOCK == 0,
      "model.attention_dropout 0": not has_dropout,
    },
  }
  if asked != "auto":
    missing = [need for need, is_met in needs[asked].items() if not is_met]
    if missing:
      raise InputError(f'model.attention "{asked}" needs {" and ".join(missing)}; "auto" takes what can be had.')
    return asked
  if platform == "gpu" and all(needs["cudnn"].values()):
    return "cudnn"
  if platform == "tpu" and length >= 512 and all(needs["splash"].values()):
    return "splash"
  return "xla"


def _xla(q_BTHK, k_BSHK, v_BSHK, example_ids_BT, dropout_rate: float, rng) -> jax.Array:
  scores_BHTS = jnp.einsum("BTHK,BSHK->BHTS", q_BTHK, k_BSHK, preferred_element_type=jnp.float32)
  # Padding sees padding, so that no row of scores is empty.
  mask_BTS = example_ids_BT[:, :, None] == example_ids_BT[:, None, :]
  scores_BHTS = jnp.where(mask_BTS[:, None], scores_BHTS, jnp.finfo(jnp.float32).min)
  weights_BHTS = dropout(jax.nn.softmax(scores_BHTS), dropout_rate, rng)
  return constrain(jnp.einsum("BHTS,BSHK->BTHK", weights_BHTS.astype(v_BSHK.dtype), v_BSHK), "BTHK")


def _cudnn(q_BTHK, k_BSHK, v_BSHK, example_ids_BT, packed: bool) -> jax.Array:
  more = {}
  if packed:  # cuDNN adds a mask as a bias, which has to be read
    more["mask"] = (example_ids_BT[:, :, None] == example_ids_BT[:, None, :])[:, None]
  else:
    lengths_B = jnp.maximum(jnp.sum(example_ids_BT > 0, axis=1, dtype=jnp.int32), 1)  # of an empty row, too
    more["query_seq_lengths"] = more["key_value_seq_lengths"] = lengths_B
  return jax.nn.dot_product_attention(q_BTHK, k_BSHK, v_BSHK, scale=1.0, implementation="cudnn", **more)


def _splash(q_BTHK, k_BSHK, v_BSHK, example_ids_BT, *, interpret: bool) -> jax.Array:
  _, length, heads, _ = q_BTHK.shape
  block = next(size for size in range(SPLASH_LARGEST_BLOCK, 0, -SPLASH_BLOCK) if length % size == 0)
  kernel = splash.make_splash_mha_single_device(
    splash_mask.MultiHeadMask([splash_mask.FullMask((length, length))] * heads),
    block_sizes=splash.BlockSizes(
      **dict.fromkeys(("block_q", "block_kv", "block_kv_compute", "block_q_dkv", "block_kv_dkv"), block),
      **dict.fromkeys(("block_kv_dkv_compute", "block_q_dq", "block_kv_dq"), block),
    ),
    interpret=interpret,
  )

  def one_row(q_THK, k_SHK, v_SHK, examples_T):
    heads_first = (x.swapaxes(0, 1) for x in (q_THK, k_SHK, v_SHK))
    return kernel(*heads_first, segment_ids=splash.SegmentIds(examples_T, examples_T)).swapaxes(0, 1)

  return jax.vmap(one_row)(q_BTHK, k_BSHK, v_BSHK, example_ids_BT).astype(v_BSHK.dtype)
