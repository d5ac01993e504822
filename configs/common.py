"""Defaults of every key, arguments after the colon, and what the argument `test` changes.

A config file is the record of an experiment: it starts from `pretraining`, sets what differs, and ends with `finish`.
"""

import ml_collections

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
  config = ml_collections.ConfigDict()
  config.name = name  # the default workdir is runs/NAME
  config.task = "pretrain"
  config.seed = 0
  config.init_from = ""  # another run's workdir: start from its parameters

  config.data = ml_collections.ConfigDict()
  config.data.source = "files:wiki/*.parquet"  # pydoc, files:GLOB or tfds:NAME/CONFIG
  config.data.text_key = "text"  # the field of .jsonl, .parquet and TFDS sources
  config.data.tokenizer = "train:sentencepiece:30000"  # a .model or .txt file, or train:KIND:SIZE
  config.data.cache_dir = "cache"  # where trained tokenizers and prepared examples are kept
  config.data.layout = "auto"  # lines are "sentences" or "paragraphs"
  config.data.valid_fraction = 0.01  # of the documents
  config.data.max_length = 512  # T
  config.data.short_seq_prob = 0.1
  config.data.pair_objective = "sop"  # sop, nsp or none
  config.data.mask_rate = 0.15
  config.data.max_predictions = 0  # in an example; 0 = mask_rate × max_length
  config.data.max_ngram = 3
  config.data.whole_word = True
  config.data.packing = 1  # examples in a row at most, N
  config.data.single_sentence_random_pair = False  # quirks of the original, see data/batch.py
  config.data.ngrams_straddle_segments = False
  config.data.random_specials = False
  config.data.workers = 0  # processes that make batches; 0 = threads
  config.data.prefetch = 4  # batches ready on the host

  config.model = ml_collections.ConfigDict()
  config.model.positions = 512
  config.model.token_types = 2
  config.model.activation = "gelu_tanh"
  config.model.dropout = 0.1
  config.model.attention_dropout = 0.1
  config.model.project_embeddings = False  # project from E to D even where they are equal
  config.model.sharing = dict(attn="all", ffn="all")
  config.model.dtype = "auto"  # bfloat16 on accelerators, float32 on CPU
  config.model.remat = "none"  # none, full or dots
  config.model.layer_loop = "scan"  # scan or unroll

  config.train = dict(steps=125_000, batch_size=4096, microbatches=1, log_every=100)
  config.optimizer = ml_collections.ConfigDict()
  config.optimizer.name = "lamb"  # lamb or adamw
  config.optimizer.learning_rate = 1.76e-3
  config.optimizer.warmup_steps = 3125
  config.optimizer.schedule = "linear"  # linear, cosine or constant
  config.optimizer.floor = 0.0  # last rate, as a fraction of the first
  config.optimizer.beta1 = 0.9
  config.optimizer.beta2 = 0.999
  config.optimizer.epsilon = 1e-6
  config.optimizer.weight_decay = 0.01
  config.optimizer.clip_norm = 1.0
  config.optimizer.bias_correction = False

  config.mesh = dict(data=-1, fsdp=1, tensor=1)  # devices along each axis; -1 = the rest
  config.eval = dict(every=5000, batch_size=256)  # every 0 = only at the end
  config.checkpoint = dict(every=1000, keep=3, keep_every=0)
  return config


def albert(size: str, arguments: str = "") -> ml_collections.ConfigDict:
  """A published ALBERT with the paper's recipe (arXiv 1909.11942, sections 3 and 4.1).

  Argument `version=2`: the second release, without dropout and trained for longer.
  """
  arguments = parse_arguments(arguments, version=1)
  config = pretraining(f"albert_{size}")
  shape = dict(ALBERT[size])
  dropout = shape.pop("dropout_v1")
  config.model.update(shape)
  config.data.max_predictions = 20  # what the authors used, at length 512 too
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


def finish(config: ml_collections.ConfigDict, arguments: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
  """Applies the argument `test`, and locks the record so that an unknown key is an error."""
  if arguments.test:
    _shrink(config)
  return config.lock()


def _shrink(config: ml_collections.ConfigDict) -> None:
  """A few steps of a tiny model on a little text: seconds on a CPU, and every part is used."""
  config.name += "_test"
  factorised = config.model.embedding != config.model.width
  config.model.update(vocab_size=600, embedding=16 if factorised else 32, width=32, layers=4, heads=2, ffn=64)
  kind = "wordpiece" if "wordpiece" in config.data.tokenizer else "sentencepiece"
  config.data.update(source="pydoc:optax", tokenizer=f"train:{kind}:600", max_length=64, max_predictions=10)
  config.data.valid_fraction = 0.1
  config.train.update(steps=6, batch_size=16, log_every=2)
  config.optimizer.warmup_steps = 2
  config.eval.update(every=4, batch_size=16)
  config.checkpoint.update(every=2, keep=2)
