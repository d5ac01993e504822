"""What config files share: the published recipes, arguments after the colon, and what the argument `test` changes.

A config file is the record of an experiment: it starts from `pretraining` or `finetuning`, whose defaults are those of
the schema (docs/config.md), sets what differs, and ends with `finish`.
"""

import ml_collections

from albert_jax.config.records import add_missing, new_config
from albert_jax.errors import InputError, unknown
from albert_jax.models.sizes import ALBERT, BERT


def parse_arguments(text: str, **defaults) -> ml_collections.ConfigDict:
  """Reads what follows the colon of `--config=configs/NAME.py:test,key=value`.

  Args:
    text: names of switches and key=value pairs, separated by commas.
    **defaults: the arguments that the config takes; their values give the types. `test` is always there.

  Raises:
    InputError: an argument is unknown, or its value is not of the type.
  """
  arguments = ml_collections.ConfigDict({"test": False, **defaults})
  for item in filter(None, text.split(",")):
    key, has_value, value = item.partition("=")
    if key not in arguments:
      raise unknown("config argument", key, arguments)
    kind = type(arguments[key])
    try:
      arguments[key] = kind(value) if has_value and kind is not bool else _switch(key, kind, value or "true")
    except ValueError as error:
      raise InputError(f'Config argument "{item}": {key} takes a value of type {kind.__name__}.') from error
  return arguments


def _switch(key: str, kind: type, value: str) -> bool:
  if kind is not bool or value.lower() not in ("true", "false"):
    raise ValueError(key)
  return value.lower() == "true"


def pretraining(name: str) -> ml_collections.ConfigDict:
  """Every key of a pretraining run with its default; the model's shape is yet to be filled in."""
  return new_config("pretrain", name)


def finetuning(name: str, task: str = "") -> ml_collections.ConfigDict:
  """Every key of a fine-tuning run with its default; data and recipe are yet to be filled in.

  Where the model's shape and the tokenizer are left empty, 0 or "", they come from `init_from`.

  Args:
    name: the default workdir is runs/NAME.
    task: classify, choice or span; it may also be set later, as `config.task`.
  """
  return new_config(task, name)


def albert(size: str, arguments: str = "") -> ml_collections.ConfigDict:
  """A published ALBERT with the paper's recipe (arXiv 1909.11942, sections 3 and 4.1).

  Argument `version=2`: the second release, without dropout and trained for longer.
  """
  arguments = parse_arguments(arguments, version=1)
  config = pretraining(f"albert_{size}")
  shape = dict(ALBERT[size])
  dropout = shape.pop("dropout_v1")
  config.model.update(shape)
  config.data.max_predictions = 20  # in an example: what the authors used, at length 512 too
  config.data.packing = 2  # fills rows with articles (docs/results/data.md)
  if arguments.version == 2:
    config.name += "_v2"
    config.train.steps = 10_000_000 if size == "base" else 3_000_000
    dropout = 0.0
  elif arguments.version != 1:
    raise InputError(f"Config argument version={arguments.version}: ALBERT has versions 1 and 2.")
  config.model.dropout = config.model.attention_dropout = dropout
  return finish(config, arguments)


def bert(size: str, arguments: str = "") -> ml_collections.ConfigDict:
  """A published BERT with the paper's recipe (arXiv 1810.04805, appendix A.2), in its two phases.

  Phase 1 is the first 90% of the million steps, at length 128. Argument `phase=2`: the rest, at length 512, from the
  weights of phase 1 (`--config.init_from=runs/bert_SIZE`) and at the rates of the one linear decay; Adam starts anew.
  """
  arguments = parse_arguments(arguments, phase=1)
  config = pretraining(f"bert_{size}")
  config.model.update(BERT[size], activation="gelu")
  config.model.sharing.update(attn="none", ffn="none")
  config.data.update(tokenizer="train:wordpiece:30522", pair_objective="nsp", max_ngram=1, whole_word=False)
  config.data.packing = 2  # fills rows with articles (docs/results/data.md)
  config.train.batch_size = 256
  config.optimizer.name = "adamw"
  if arguments.phase == 1:
    config.data.update(max_length=128, max_predictions=20)
    config.train.steps = 900_000
    config.optimizer.update(learning_rate=1e-4, warmup_steps=10_000, floor=0.1)
  elif arguments.phase == 2:
    config.name += "_phase2"
    config.data.update(max_length=512, max_predictions=77)
    config.train.steps = 100_000
    config.optimizer.update(learning_rate=1e-5, warmup_steps=0)
  else:
    raise InputError(f"Config argument phase={arguments.phase}: BERT's pretraining has phases 1 and 2.")
  return finish(config, arguments)


def recurrent(kind: str, width: int, arguments: str = "") -> ml_collections.ConfigDict:
  """A recurrent encoder of two layers with BERT-mini's embedding tables and its recipe at length 128.

  Args:
    kind: "lstm" or "gru".
    width: D, of both directions together.
    arguments: what follows the colon.
  """
  config = bert("mini")
  with config.unlocked():
    config.name = f"{kind}_mini"
    config.model.update(kind=kind, width=width, layers=2, heads=1, ffn=1)
    config.model.sharing.update(attn="all", ffn="all")
  return finish(config, parse_arguments(arguments))


def finish(config: ml_collections.ConfigDict, arguments: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
  """Applies the argument `test`, adds the keys of the source, and locks: an unknown key is an error from here on."""
  if arguments.test and config.task == "pretrain":
    with config.unlocked():
      _shrink(config)
  add_missing(config)
  return config.lock()


def tiny_model(config: ml_collections.ConfigDict) -> None:
  """A model from scratch for the argument `test` of a fine-tuning config."""
  config.model.update(vocab_size=600, embedding=32, width=32, layers=2, heads=2, ffn=64, positions=64, token_types=2)
  config.model.update(activation="gelu", sharing=dict(attn="none", ffn="none"), dropout=0.0, attention_dropout=0.0)


def sample_run(config: ml_collections.ConfigDict) -> None:
  """The argument `test` of a config of labelled texts: a tiny model from scratch learns a sample made by rule."""
  config.name += "_test"
  tiny_model(config)
  config.data.update(dir="sample", tokenizer="train:wordpiece:120", max_length=32, length_multiple=32)
  config.train.update(steps=150, batch_size=32, log_every=25)
  config.optimizer.update(learning_rate=3e-3, warmup_steps=0, warmup_fraction=0.2)
  config.eval.update(every=50, batch_size=64)
  config.checkpoint.update(every=50)


def _shrink(config: ml_collections.ConfigDict) -> None:
  """A few steps of a tiny model on a little text: seconds on a CPU, and every part is used."""
  config.name += "_test"
  factorised = config.model.embedding != config.model.width
  config.model.update(vocab_size=600, embedding=16 if factorised else 32, width=32, layers=4)
  if config.model.kind == "transformer":
    config.model.update(heads=2, ffn=64)
  config.model.layer_loop = "scan"  # compiles faster
  kind = "wordpiece" if "wordpiece" in config.data.tokenizer else "sentencepiece"
  config.data.update(source="pydoc:optax", tokenizer=f"train:{kind}:600", max_length=64, max_predictions=10)
  config.data.valid_fraction = 0.1
  config.train.update(steps=6, batch_size=16, log_every=2)
  config.optimizer.warmup_steps = 2
  config.eval.update(every=4, batch_size=16)
  config.checkpoint.update(every=2, keep=2)
