import dataclasses

import jax
import pytest
from flax import nnx

from albert_jax.errors import InputError
from albert_jax.models import sharing
from albert_jax.models.heads import PretrainingModel
from albert_jax.models.sizes import ALBERT, BERT, EncoderConfig

# arXiv 1909.11942 and 1810.04805, counted from the released checkpoints: (encoder + pooler, with both heads).
ALBERT_COUNTS = {
  "base": (11_683_584, 11_813_810),
  "large": (17_683_968, 17_847_474),
  "xlarge": (58_724_864, 59_021_490),
  "xxlarge": (222_595_584, 223_158_450),
}
BERT_COUNTS = {
  "tiny": (4_385_920, 4_433_468),
  "mini": (11_170_560, 11_267_900),
  "small": (28_763_648, 29_058_876),
  "medium": (41_373_184, 41_668_412),
  "base": (109_482_240, 110_106_428),
  "large": (335_141_888, 336_226_108),
}


def make_config(size, attn, ffn, **more) -> EncoderConfig:
  shape = {name: value for name, value in {**size, **more}.items() if name != "dropout_v1"}
  tables = {"attn_table": attn, "ffn_table": ffn}
  return EncoderConfig(**shape, **{k: sharing.make_table(v, shape["layers"]) for k, v in tables.items()})


def count(config: EncoderConfig) -> tuple[int, int]:
  """Parameters of (encoder + pooler, everything)."""
  model = nnx.eval_shape(lambda: PretrainingModel(config, pair=True, rngs=nnx.Rngs(0)))

  def size(part):
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(part)))

  return size(model.encoder) + size(model.pooler), size(model)


@pytest.mark.parametrize("name", ALBERT)
def test_albert_parameters(name):
  assert count(make_config(ALBERT[name], "all", "all")) == ALBERT_COUNTS[name]


@pytest.mark.parametrize("name", BERT)
def test_bert_parameters(name):
  assert count(make_config(BERT[name], "none", "none")) == BERT_COUNTS[name]


@pytest.mark.parametrize(
  ("embedding", "attn", "ffn", "millions"),
  [  # arXiv 1909.11942, table 4
    (128, "all", "all", 11.68),
    (128, "all", "none", 63.65),
    (128, "none", "all", 37.69),
    (128, "none", "none", 89.65),
    (768, "all", "all", 31.1),
    (768, "all", "none", 83.1),
    (768, "none", "all", 57.1),
    (768, "none", "none", 109.1),
  ],
)
def test_sharing_table_of_the_paper(embedding, attn, ffn, millions):
  encoder, _ = count(make_config(ALBERT["base"], attn, ffn, embedding=embedding))
  assert encoder / 1e6 == pytest.approx(millions, abs=0.05 if embedding == 768 else 0.005)


def test_projection_between_equal_widths_only_on_demand():
  size = {**ALBERT["base"], "embedding": 768}
  without = count(make_config(size, "all", "all"))[0]
  assert count(make_config(size, "all", "all", project_embeddings=True))[0] - without == 768 * 768 + 768


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"heads": 5}, "multiple of model.heads"),
    ({"layers": 0}, "model.layers must be at least 1"),
    ({"dropout": 1.0}, "model.dropout"),
    ({"activation": "gelu_tan"}, 'Did you mean "gelu_tanh"'),
    ({"remat": "ful"}, 'Did you mean "full"'),
    ({"layer_loop": "loop"}, "model.layer_loop"),
  ],
)
def test_bad_shapes_are_named(change, message):
  config = make_config(BERT["tiny"], "none", "none")
  with pytest.raises(InputError, match=message):
    dataclasses.replace(config, **change)
