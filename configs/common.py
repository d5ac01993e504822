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
  config.init_from = ""  # a run's workdir or a Hugging Face folder: start from its parameters

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
  config.data.packing = 8  # examples in a row at most, N
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
  config.model.update(_computation())

  config.train = _training(steps=125_000, batch_size=4096)
  config.train.loss_chunks = 1  # parts that the masked-LM loss is worked through in: less memory, a little more work
  config.optimizer = _optimizer(name="lamb", learning_rate=1.76e-3, warmup_steps=3125)
  config.mesh = dict(data=-1, fsdp=1, tensor=1)  # devices along each axis; -1 = the rest
  config.eval = _evaluation(every=5000, batch_size=256)
  config.checkpoint = dict(every=1000, keep=3, keep_every=0)
  return config


def finetuning(name: str) -> ml_collections.ConfigDict:
  """Every key of a fine-tuning run with its default; the task, its data and its recipe are yet to be filled in.

  What of the model's shape and the tokenizer is left empty, 0 or "", comes from `init_from`.
  """
  config = ml_collections.ConfigDict()
  config.name = name  # the default workdir is runs/NAME
  config.task = ""  # classify, choice or span
  config.seed = 0  # of new heads, of the order of examples and of dropout
  config.seeds = 1  # runs with the seeds that follow, for mean and spread
  config.init_from = ""  # a run's workdir or a Hugging Face folder

  config.data = ml_collections.ConfigDict()
  config.data.dir = ""  # folder with the task's official files; "" = the set of TFDS
  config.data.tokenizer = ""  # a file or folder; "" = that of init_from
  config.data.cache_dir = "cache"
  config.data.max_length = 128  # T at most
  config.data.length_multiple = 8  # a batch's T is the least multiple of this that holds its longest example
  config.data.length_pool = 0  # batches whose examples are sorted by length together; 0 = none are
  config.data.labels = ()  # names of the classes, in the order of the outputs; () = found in the data
  config.data.regression = False  # a number instead of a class
  config.data.workers = 0  # processes that make batches; 0 = threads
  config.data.prefetch = 4  # batches ready on the host

  config.model = ml_collections.ConfigDict()
  config.model.update(vocab_size=0, embedding=0, width=0, layers=0, heads=0, ffn=0, positions=0, token_types=0)
  config.model.activation = ""
  config.model.dropout = 0.1
  config.model.attention_dropout = 0.1
  config.model.classifier_dropout = 0.1  # before the classifier
  config.model.project_embeddings = False
  config.model.sharing = dict(attn="", ffn="")
  config.model.update(_computation())
  config.model.layer_loop = "scan"  # compiles faster, and there is a program for each length

  config.train = _training(steps=0, batch_size=32)
  config.train.epochs = 3.0  # where steps is 0
  config.optimizer = _optimizer(name="adamw", learning_rate=2e-5, warmup_steps=0)
  config.optimizer.warmup_fraction = 0.1  # where warmup_steps is 0
  config.optimizer.layer_decay = 1.0  # rate of a layer as a fraction of that of the layer above
  config.optimizer.frozen_layers = 0  # the lowest layers, and the embeddings, stay as they are
  config.mesh = dict(data=-1, fsdp=1, tensor=1)
  config.eval = _evaluation(every=0, batch_size=64)
  config.eval.epochs = 1.0  # where every is 0: epochs between two evaluations; 0 = only at the end
  config.checkpoint = dict(every=1000, keep=1, keep_every=0)
  return config


def _computation() -> ml_collections.ConfigDict:
  model = ml_collections.ConfigDict()
  model.dtype = "auto"  # bfloat16 on accelerators, float32 on CPU
  model.remat = "none"  # none, full or dots
  model.layer_loop = "auto"  # auto, scan or unroll
  model.attention = "auto"  # auto, xla, cudnn or splash
  return model


def _training(*, steps: int, batch_size: int) -> ml_collections.ConfigDict:
  train = ml_collections.ConfigDict()
  train.steps = steps
  train.batch_size = batch_size  # rows, of all devices together
  train.microbatches = 1  # parts that a batch is worked through in
  train.log_every = 100
  train.timeout = 1800  # seconds without a finished step or evaluation batch that end the process; 0 = never
  train.max_bad_steps = 10  # skipped steps in a row, for a loss or gradient that is not finite, that end the run
  train.deterministic = False  # GPUs: slower, and repeatable bit by bit, as CPUs and TPUs always are
  train.compiler_options = ""  # of XLA for the train step, "xla_NAME=VALUE,…"
  train.spike_factor = 0.0  # a loss of more than this times its running mean is skipped, too; 0 = off
  return train


def _optimizer(*, name: str, learning_rate: float, warmup_steps: int) -> ml_collections.ConfigDict:
  optimizer = ml_collections.ConfigDict()
  optimizer.name = name  # lamb or adamw
  optimizer.learning_rate = learning_rate
  optimizer.warmup_steps = warmup_steps
  optimizer.schedule = "linear"  # linear, cosine or constant
  optimizer.floor = 0.0  # last rate, as a fraction of the first
  optimizer.beta1 = 0.9
  optimizer.beta2 = 0.999
  optimizer.epsilon = 1e-6
  optimizer.weight_decay = 0.01
  optimizer.clip_norm = 1.0
  optimizer.bias_correction = False
  return optimizer


def _evaluation(*, every: int, batch_size: int) -> ml_collections.ConfigDict:
  evaluation = ml_collections.ConfigDict()
  evaluation.every = every  # steps; 0 = only at the end
  evaluation.batch_size = batch_size
  evaluation.metric = ""  # higher is better: the parameters of the best evaluation are kept in best/
  evaluation.patience = 0  # evaluations without a better one after which training stops; 0 = never
  return evaluation


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


def finish(config: ml_collections.ConfigDict, arguments: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
  """Applies the argument `test`, and locks the record so that an unknown key is an error."""
  if arguments.test and config.task == "pretrain":
    _shrink(config)
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
  config.model.update(vocab_size=600, embedding=16 if factorised else 32, width=32, layers=4, heads=2, ffn=64)
  config.model.layer_loop = "scan"  # compiles faster
  kind = "wordpiece" if "wordpiece" in config.data.tokenizer else "sentencepiece"
  config.data.update(source="pydoc:optax", tokenizer=f"train:{kind}:600", max_length=64, max_predictions=10)
  config.data.valid_fraction = 0.1
  config.train.update(steps=6, batch_size=16, log_every=2)
  config.optimizer.warmup_steps = 2
  config.eval.update(every=4, batch_size=16)
  config.checkpoint.update(every=2, keep=2)
