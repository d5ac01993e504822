"""Every key of every config, declared once: defaults, types, ranges, documentation and checks come from here."""

import dataclasses

from albert_jax.config.fields import FINETUNING, PRETRAINING, Field


def _positions(record: dict) -> int:
  """The longest example of a record that an import of an earlier version wrote, by dotted key."""
  positions = record.get("model.positions")
  return positions if isinstance(positions, int) else 512


INT32 = 2**31 - 1
SEED = 2**63 - 1

_RUN = {
  "name": Field("", "The default workdir is runs/NAME.", free=True),
  "task": Field("pretrain", "What is trained: pretrain, classify, choice or span.", finetuning=""),
  "seed": Field(0, "Of initial parameters and dropout, and of the order of the data.", low=0, high=SEED),
  "seeds": Field(1, "Runs with the seeds that follow `seed`, for mean and spread.", low=1, high=10_000),
  "init_from": Field(
    "", "A run's workdir, a Hugging Face folder or hub:OWNER/NAME, whose parameters a new run starts from."
  ),
  "init_rule": Field(
    "average",
    "How a weight group starts from several layers of a model with other sharing or another depth.",
    choices=("average", "stepwise", "lower", "svd"),
  ),
  "init_optimizer": Field(
    "new",
    "The optimizer's moments at the start: new, or those of init_from, scaled for other sharing.",
    choices=("new", "parallel", "independent", "copy"),
  ),
}

_DATA = {
  "source": Field(
    "hub:wikimedia/wikipedia@b04c8d1ceb2f5cd4588862100d08de323dccfbaa/20231101.en",  # English Wikipedia, 11.6 GB
    "Text: pydoc, files:GLOB, hub:OWNER/NAME/PATH or tfds:NAME/CONFIG; see docs/data.md.",
    finetuning="",
    free=True,
  ),
  "text_key": Field("text", "The field that holds the text, in .jsonl, .parquet and TFDS.", tasks=PRETRAINING),
  "dir": Field("", "Folder of the task's official files; empty: the set of TFDS.", tasks=FINETUNING, free=True),
  "tokenizer": Field(
    "train:sentencepiece:30000",
    "A file, a folder, or train:KIND:SIZE; empty in fine-tuning: that of init_from.",
    finetuning="",
    free=True,
  ),
  "cache_dir": Field("cache", "Where trained tokenizers, prepared examples and compiled programs are kept.", free=True),
  "layout": Field("auto", "What a line of text is.", choices=("auto", "sentences", "paragraphs"), tasks=PRETRAINING),
  "valid_fraction": Field(0.01, "Share of the documents that is held out.", above=0, below=1, tasks=PRETRAINING),
  "holdout_seed": Field(
    0,
    "Of the documents that are held out, the shorter examples, and the masks of evaluations.",
    low=0,
    high=SEED,
    tasks=PRETRAINING,
    before=lambda record: record.get("seed", 0),
  ),
  "seed": Field(
    -1, "Of the order of the data, its segments and masks; -1 = `seed`.", low=0, high=SEED, off=-1, tasks=PRETRAINING
  ),
  "max_length": Field(512, "Tokens in a row, T.", finetuning=128, low=4, high=2**16, before=_positions),
  "short_seq_prob": Field(0.1, "Share of examples that are made shorter.", low=0, high=1, tasks=PRETRAINING),
  "pair_objective": Field(
    "sop", "Sentence order, next sentence, or neither.", choices=("sop", "nsp", "none"), tasks=PRETRAINING
  ),
  "cut_pairs": Field(
    False, "Pairs, too, in examples that begin or end inside a cut sentence.", tasks=PRETRAINING, before=True
  ),
  "mask_rate": Field(0.15, "Share of an example's tokens that are predicted.", above=0, below=1, tasks=PRETRAINING),
  "max_predictions": Field(
    0, "Predictions in an example at most; 0 = mask_rate × max_length.", low=0, high=2**16, tasks=PRETRAINING
  ),
  "max_ngram": Field(3, "Words in a masked run at most.", low=1, high=2**16, tasks=PRETRAINING),
  "whole_word": Field(True, "Masked runs are made of whole words, not of tokens.", tasks=PRETRAINING),
  "packing": Field(8, "Examples in a row at most, N.", low=1, high=2**16, tasks=PRETRAINING),
  "single_sentence_random_pair": Field(False, "Quirk of the original, see docs/data.md.", tasks=PRETRAINING),
  "ngrams_straddle_segments": Field(False, "Quirk of the original, see docs/data.md.", tasks=PRETRAINING),
  "random_specials": Field(False, "Quirk of the original, see docs/data.md.", tasks=PRETRAINING),
  "length_multiple": Field(
    8, "A batch's T is the least multiple of this that holds its longest example.", low=1, high=2**16, tasks=FINETUNING
  ),
  "length_pool": Field(
    0, "Batches whose examples are sorted by length together; 0 = none.", low=0, high=INT32, tasks=FINETUNING
  ),
  "labels": Field((), "Names of the classes in the order of the outputs; empty: found in the data.", tasks=FINETUNING),
  "regression": Field(False, "Labels are numbers, not classes.", tasks=FINETUNING),
  "metrics": Field((), "Scores of an evaluation.", tasks=("classify", "choice")),
  "workers": Field(0, "Processes that make batches; 0 = threads.", low=0, high=1024, free=True),
  "prefetch": Field(4, "Batches that are ready on the host.", low=0, high=1024, free=True),
}

_SPAN = {
  "version": Field(1, "Of SQuAD: 1 for 1.1, 2 for 2.0.", choices=(1, 2), tasks=("span",)),
  "train": Field("", "File to train on, in place of the official one in data.dir.", tasks=("span",)),
  "valid": Field("", "File to evaluate on, in place of the official one in data.dir.", tasks=("span",)),
  "stride": Field(128, "Tokens between the starts of two windows on a passage.", low=1, high=2**16, tasks=("span",)),
  "max_question": Field(
    64,
    "Tokens of a question at most.",
    low=1,
    high=2**16,
    tasks=("span",),
    before=lambda record: min(64, _positions(record) // 2),
  ),
  "n_best": Field(20, "Answers to a question that are kept.", low=1, high=10_000, tasks=("span",)),
  "max_answer": Field(30, "Tokens of an answer at most.", low=1, high=2**16, tasks=("span",)),
  "null_threshold": Field(0.0, "No answer where [CLS] outscores the best span by more.", tasks=("span",)),
}

_CHOICE = {
  "max_question": Field(
    128,
    "Tokens of question and answer at most; the article has the rest.",
    low=1,
    high=2**16,
    tasks=("choice",),
    before=_positions,
  ),
}

_TABLES = {  # of data.source "text_files"
  "train": Field("", "Rows to train on: .tsv, .csv or .jsonl."),
  "valid": Field("", "Rows to evaluate on; empty: a part of the training rows is held out."),
  "valid_fraction": Field(
    0.1, "Share of the training rows that is held out, where there is no `valid`.", above=0, below=1
  ),
  "test": Field("", "Rows to predict; they need no labels."),
  "text": Field("text", "The column of the text."),
  "text_pair": Field("", "The column of a second text, in tasks on pairs."),
  "label": Field("label", "The column of the label."),
}

_SIZE = dict(low=1, high=INT32)
_MODEL = {
  "kind": Field(
    "transformer",
    "The encoder: transformer, or the bidirectional recurrent lstm or gru.",
    choices=("transformer", "lstm", "gru"),
  ),
  "vocab_size": Field(0, "V, pieces of the vocabulary.", **_SIZE),
  "embedding": Field(0, "E, width of the embedding tables.", **_SIZE),
  "width": Field(0, "D, width of the layers.", **_SIZE),
  "layers": Field(0, "L.", low=1, high=10_000),
  "heads": Field(0, "H; each is D/H wide. 1 in a recurrent encoder.", **_SIZE),
  "ffn": Field(0, "F, width of the feed-forward part. 1 in a recurrent encoder.", **_SIZE),
  "positions": Field(512, "P, the longest example.", finetuning=0, **_SIZE),
  "token_types": Field(2, "Y, segments told apart.", finetuning=0, **_SIZE),
  "activation": Field("gelu_tanh", "Of the feed-forward part.", finetuning="", choices=("gelu", "gelu_tanh", "relu")),
  "dropout": Field(0.1, "After the embeddings, the attention and the feed-forward part.", low=0, below=1),
  "attention_dropout": Field(0.1, "On attention probabilities.", low=0, below=1),
  "classifier_dropout": Field(0.1, "Before the classifier of a fine-tuned model; exported with it.", low=0, below=1),
  "project_embeddings": Field(False, "Project from E to D even where they are equal."),
  "sharing": {
    "attn": Field("all", "Which weight group each layer's attention reads: a scheme or a table.", finetuning=""),
    "ffn": Field("all", "The same for the feed-forward part.", finetuning=""),
    "rnn": Field("", "The same for the layers of an LSTM or GRU; empty: each its own."),
    "query": Field("", "Of one matrix and its bias; empty: as its part."),
    "key": Field("", "The same."),
    "value": Field("", "The same."),
    "output": Field("", "The same, of the attention's output."),
    "up": Field("", "The same, of the feed-forward part's first matrix."),
    "down": Field("", "The same, of its second."),
    "norm": Field("", "Of both LayerNorms; empty: as their part."),
    "bias": Field("", "Of the biases of all matrices; empty: as their matrix."),
  },
  "depth": {
    "lora": Field(0, "Rank of each layer's own addition to shared matrices; 0 = none.", low=0, high=2**16),
    "lora_on": Field("query,key,value,output,up,down", "The matrices that have one."),
    "embedding": Field("none", "What is added to the input of each layer.", choices=("none", "learned", "sinusoid")),
    "residual": Field(
      "one", "What multiplies each layer's branches; inverse: 1 / readers.", choices=("one", "learned", "inverse")
    ),
  },
  "dtype": Field("auto", "Of the computation: float32, bfloat16; auto: bfloat16 on accelerators."),
  "remat": Field("none", "What the backward pass computes again.", choices=("none", "full", "dots"), free=True),
  "layer_loop": Field(
    "auto", "One compiled layer or L copies.", finetuning="scan", choices=("auto", "scan", "unroll"), free=True
  ),
  "attention": Field("auto", "The implementation.", choices=("auto", "xla", "cudnn", "splash"), free=True),
}

_TRAIN = {
  "steps": Field(125_000, "Steps of the whole training; 0 = by `epochs`.", finetuning=0, low=0, high=INT32),
  "epochs": Field(0.0, "Length of the training where `steps` is 0.", finetuning=3.0, low=0, high=1e6),
  "batch_size": Field(4096, "Rows of a batch, of all devices together.", finetuning=32, low=1, high=INT32),
  "microbatches": Field(1, "Parts that a batch is worked through in.", low=1, high=INT32),
  "loss_chunks": Field(
    1,
    "Parts that the masked-LM loss is worked through in: less memory, more work.",
    low=1,
    high=2**16,
    tasks=PRETRAINING,
    free=True,
  ),
  "log_every": Field(100, "Steps between two lines of the log.", low=1, high=INT32, free=True),
  "log_to": Field(
    "tensorboard", "Dashboards beside metrics.jsonl: tensorboard, wandb, or both with a comma; empty = none.", free=True
  ),
  "timeout": Field(
    1800, "Seconds without progress after which the process ends; 0 = never.", low=0, high=INT32, free=True
  ),
  "max_bad_steps": Field(10, "Consecutive skipped steps after which the run ends.", low=1, high=INT32, free=True),
  "spike_factor": Field(
    0.0, "A loss above this times its running mean is skipped like one that is not finite.", above=1, off=0
  ),
  "deterministic": Field(False, "GPUs: slower, and repeatable bit by bit, as CPUs and TPUs are.", free=True),
  "compiler_options": Field("", "Of XLA for the train step: xla_NAME=VALUE,…", free=True),
  "profile": Field("", "Steps of which a profiler trace is taken, such as 10-15.", free=True),
}

_OPTIMIZER = {
  "name": Field("lamb", "lamb or adamw.", finetuning="adamw", choices=("lamb", "adamw")),
  "learning_rate": Field(1.76e-3, "The peak.", finetuning=2e-5, low=0, high=1e3),
  "warmup_steps": Field(3125, "Steps of linear warm-up from 0.", finetuning=0, low=0, high=INT32),
  "warmup_fraction": Field(0.0, "Share of all steps, where warmup_steps is 0.", finetuning=0.1, low=0, high=1),
  "schedule": Field("linear", "After the warm-up.", choices=("linear", "cosine", "constant")),
  "floor": Field(0.0, "The last rate as a fraction of the peak.", low=0, high=1),
  "beta1": Field(0.9, "Decay of the first moment.", low=0, high=1),
  "beta2": Field(0.999, "Decay of the second moment.", low=0, high=1),
  "epsilon": Field(1e-6, "Added to the root of the second moment.", low=1e-30, high=1),
  "weight_decay": Field(0.01, "Decoupled, scaled by the learning rate.", low=0, high=1e3),
  "clip_norm": Field(1.0, "Global norm of the gradient at most; 0 = no clipping.", low=0, high=1e9),
  "bias_correction": Field(False, "Adam's; the published recipes have none."),
  "layer_decay": Field(1.0, "Rate of a layer as a fraction of that of the layer above.", low=0, high=1),
  "frozen_layers": Field(0, "The lowest layers, and the embeddings, stay as they are.", low=0, high=10_000),
}

_AXIS = dict(low=1, high=INT32, off=-1, free=True)
_MESH = {
  "data": Field(-1, "Devices that split the batch; -1 = the rest.", **_AXIS),
  "fsdp": Field(1, "Devices that split batch, parameters and optimizer.", **_AXIS),
  "tensor": Field(1, "Devices that split heads, feed-forward width and vocabulary.", **_AXIS),
}

_EVAL = {
  "every": Field(5000, "Steps between two evaluations; 0 = by `epochs`.", finetuning=0, low=0, high=INT32),
  "epochs": Field(0.0, "Epochs between two where `every` is 0; 0 = only at the end.", finetuning=1.0, low=0, high=1e6),
  "batch_size": Field(256, "Rows of a batch.", finetuning=64, low=1, high=INT32, free=True),
  "metric": Field("", "Higher is better: the parameters of the best evaluation are kept in best/."),
  "patience": Field(0, "Evaluations without a better one after which training stops; 0 = never.", low=0, high=INT32),
}

_CHECKPOINT = {
  "every": Field(1000, "Steps between two checkpoints.", low=1, high=INT32, free=True),
  "keep": Field(3, "Newest checkpoints that are kept.", finetuning=1, low=1, high=INT32, free=True),
  "keep_every": Field(
    0, "Every checkpoint at a multiple of this is kept, too; 0 = none.", low=0, high=INT32, free=True
  ),
}

_GROUPS = {
  "data": _DATA,
  "model": _MODEL,
  "train": _TRAIN,
  "optimizer": _OPTIMIZER,
  "mesh": _MESH,
  "eval": _EVAL,
  "checkpoint": _CHECKPOINT,
}


def _flatten(group: dict, prefix: str = "") -> dict[str, Field]:
  flat = {}
  for key, value in group.items():
    flat |= _flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
  return flat


def _declarations() -> dict[str, list[Field]]:
  tables = {key: dataclasses.replace(field, tasks=("classify",), source="text_files") for key, field in _TABLES.items()}
  found = {key: [field] for key, field in _flatten({**_RUN, **_GROUPS}).items()}
  for special in (_SPAN, _CHOICE, tables):
    for key, field in special.items():
      found.setdefault(f"data.{key}", []).append(field)
  return found


# Dotted key → its declarations: a key that means different things in different tasks has several.
SCHEMA: dict[str, list[Field]] = _declarations()


def fields_of(task: str, source: str) -> dict[str, Field]:
  """The declarations that hold for a run of a task on a source, by dotted key."""
  return {key: field for key, fields in SCHEMA.items() for field in fields if field.applies(task, source)}
