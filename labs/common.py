"""What the labs share: their arguments, and the proxy models that they train."""

import ml_collections

from albert_jax.errors import unknown
from albert_jax.lab.spec import Lab
from configs import common

# With four layers, a run of `tiny` is 10 TFLOP, for CPUs; one of `small` 2 PFLOP, for a GPU.
SIZES = ("tiny", "small")
RATES = (7.5e-4, 1.5e-3, 3e-3)  # that each arm chooses from; the grid grows where the best lies at its edge


def parse(arguments: str, **defaults) -> ml_collections.ConfigDict:
  """The arguments that every lab takes: `test`, `size`, `seeds` and `rate`; and those of its own."""
  parsed = common.parse_arguments(arguments, size="tiny", seeds=3, rate=0.0, **defaults)
  if parsed.size not in SIZES:
    raise unknown("size of a lab's models", parsed.size, SIZES)
  return parsed


def base(arguments: ml_collections.ConfigDict, *, layers: int = 4, **model) -> ml_collections.ConfigDict:
  """The config of a proxy model: an encoder without dropout, and AdamW, as in configs/albert_tiny.py.

  Args:
    arguments: from `parse`.
    layers: L.
    **model: further keys of the model.
  """
  config = common.pretraining("proxy")
  config.data.update(source="pydoc", tokenizer="train:sentencepiece:512", max_length=32, valid_fraction=0.05)
  # A small vocabulary and many masks: on two CPU cores a model is soon well below the unigram loss.
  config.data.update(packing=2, max_ngram=1, whole_word=False, mask_rate=0.3, pair_objective="none")
  config.model.update(vocab_size=512, embedding=64, width=128, layers=layers, heads=4, ffn=512)
  config.model.update(dropout=0.0, attention_dropout=0.0)
  config.train.update(steps=2000, batch_size=32)
  config.optimizer.update(name="adamw", learning_rate=1.5e-3, warmup_steps=500, beta2=0.98)
  config.eval.update(every=250, batch_size=128)
  config.checkpoint.update(every=250, keep=1)
  if arguments.size == "small":
    config.data.update(tokenizer="train:sentencepiece:8192", max_length=128, valid_fraction=0.01, mask_rate=0.15)
    config.model.update(vocab_size=8192, embedding=128, width=256, heads=4, ffn=1024)
    config.train.update(steps=6000, batch_size=128)
    config.eval.update(every=500, batch_size=256)
    config.checkpoint.update(every=1000)
  if arguments.test:
    _shrink(config)
  config.model.update(model)
  return common.finish(config, common.parse_arguments(""))


def narrower(config: ml_collections.ConfigDict) -> dict[str, dict]:
  """Arms without sharing, of three quarters and half the width: what fewer parameters cost without sharing.

  They give `phi` the loss that a number of parameters buys.
  """
  head, ratio = config.model.width // config.model.heads, config.model.ffn // config.model.width
  arms = {}
  for heads in sorted({config.model.heads // 2, 3 * config.model.heads // 4} - {0, config.model.heads}, reverse=True):
    shape = {"model.width": head * heads, "model.heads": heads, "model.ffn": ratio * head * heads}
    arms[f"none{head * heads}"] = {"model.sharing.attn": "none", "model.sharing.ffn": "none", **shape}
  return arms


def _shrink(config: ml_collections.ConfigDict) -> None:
  """A few steps of a tiny model: the lab takes a minute or two, and shows nothing about sharing."""
  config.data.update(source="pydoc:optax", tokenizer="train:sentencepiece:600", max_length=32, valid_fraction=0.1)
  config.model.update(vocab_size=600, embedding=16, width=32, heads=2, ffn=64, layer_loop="scan")
  config.train.update(steps=12, batch_size=16, log_every=4)
  config.optimizer.update(warmup_steps=2)
  config.eval.update(every=4, batch_size=32)
  config.checkpoint.update(every=4)


def finish(lab: Lab, arguments: ml_collections.ConfigDict) -> Lab:
  """Sets the seeds and the rates; for `test` two arms and their origins, two seeds and two rates are left.

  `rate` takes the place of the grid, for all arms: where a lab before has chosen it.
  """
  lab.seeds = arguments.seeds
  lab.tune = {} if arguments.rate else {"optimizer.learning_rate": RATES}
  if arguments.rate:
    lab.base.optimizer.learning_rate = arguments.rate
  if arguments.test:
    lab.name += "_test"
    lab.seeds, lab.tune_extend = 2, 0
    lab.tune = {key: values[:2] for key, values in lab.tune.items()}
    other = next(name for name in lab.arms if name != lab.baseline)
    lab.arms = {name: lab.arms[name] for name in lab.arms if name in (other, lab.baseline, *lab.origins(other))}
  return lab
