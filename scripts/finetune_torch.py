"""Fine-tunes a Hugging Face model on a GLUE task in PyTorch: the peer that `configs/glue.py` is held against.

  python scripts/finetune_torch.py --model=HF_FOLDER --data=GLUE_FOLDER --task=sst2 --seed=0 --epochs=1 \
    --learning_rate=5e-5 --batch_size=32

Needs torch and transformers (the extra `test`). The recipe is that of the config: AdamW with bias correction, weight
decay 0.01 off biases and LayerNorms, global clip 1.0, linear warm-up and decay, batches of rows of about equal length.
The last line is a JSON object with the metrics.
"""

import csv
import itertools
import json
import re
import time
from pathlib import Path

import numpy as np
import torch
import transformers
from absl import app, flags
from scipy import stats
from sklearn import metrics

_MODEL = flags.DEFINE_string("model", None, "Folder with config.json, model.safetensors and tokenizer.", required=True)
_DATA = flags.DEFINE_string("data", None, "Folder with SST-2/, STS-B/, RTE/ or CoLA/.", required=True)
_TASK = flags.DEFINE_enum("task", None, ["sst2", "stsb", "rte", "cola"], "Which.", required=True)
_SEED = flags.DEFINE_integer("seed", 0, "Of the head, the order and the dropout.")
_EPOCHS = flags.DEFINE_float("epochs", 3.0, "Passes over the training set.")
_EVAL_EPOCHS = flags.DEFINE_float("eval_epochs", 1.0, "Passes between two evaluations.")
_WORKDIR = flags.DEFINE_string("workdir", None, "New folder for the curve, which plot_metrics.py draws.")
_LEARNING_RATE = flags.DEFINE_float("learning_rate", 5e-5, "The peak.")
_LAYER_DECAY = flags.DEFINE_float("layer_decay", 1.0, "A layer's rate as a fraction of that of the layer above.")
_DROPOUT = flags.DEFINE_float("dropout", 0.1, "In the encoder; the head has 0.1.")
_WARMUP = flags.DEFINE_float("warmup", 0.1, "Share of the steps.")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 32, "Examples a step.")
_MAX_LENGTH = flags.DEFINE_integer("max_length", 128, "Tokens of an example at most.")
_POOL = flags.DEFINE_integer("length_pool", 50, "Batches whose examples are sorted by length together.")
_THREADS = flags.DEFINE_integer("threads", 0, "0 = as many as there are cores.")

_LOG_EVERY = 50  # steps

# Folder, columns of the texts and of the label, labels (none: a number), whether there is a header.
TASKS = {
  "sst2": ("SST-2", ("sentence",), "label", ("0", "1"), True),
  "stsb": ("STS-B", ("sentence1", "sentence2"), "score", (), True),
  "rte": ("RTE", ("sentence1", "sentence2"), "label", ("entailment", "not_entailment"), True),
  "cola": ("CoLA", (3,), 1, ("0", "1"), False),
}


def main(_):
  """Trains and evaluates; the result is the last evaluation's."""
  if _THREADS.value:
    torch.set_num_threads(_THREADS.value)
  if _WORKDIR.value:
    Path(_WORKDIR.value).mkdir(parents=True)
    shape = {"train": {"batch_size": _BATCH_SIZE.value}, "data": {"max_length": _MAX_LENGTH.value}}
    (Path(_WORKDIR.value) / "config.json").write_text(json.dumps(shape), encoding="utf-8")
  torch.manual_seed(_SEED.value)
  rng = np.random.default_rng(_SEED.value)
  labels = TASKS[_TASK.value][3]
  tokenizer = transformers.AutoTokenizer.from_pretrained(_MODEL.value)
  model = transformers.AutoModelForSequenceClassification.from_pretrained(
    _MODEL.value,
    num_labels=len(labels) or 1,
    problem_type=None if labels else "regression",
    hidden_dropout_prob=_DROPOUT.value,
    attention_probs_dropout_prob=_DROPOUT.value,
    classifier_dropout=0.1,
  )
  train, dev = (encode(tokenizer, *read(split)) for split in ("train", "dev"))
  steps_per_epoch = -(-len(train) // _BATCH_SIZE.value)
  steps, every = (max(1, round(epochs * steps_per_epoch)) for epochs in (_EPOCHS.value, _EVAL_EPOCHS.value))
  optimizer, schedule = make_optimizer(model, steps)
  start, used, losses = time.time(), time.process_time(), []
  for step, rows in enumerate(itertools.islice(endless_batches(train, rng), steps), 1):
    model.train()
    loss = model(**collate(tokenizer, [train[i] for i in rows])).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    schedule.step()
    optimizer.zero_grad()
    losses.append(loss.item())
    if step % _LOG_EVERY == 0 or step == steps:
      log(step, "train", {"loss": float(np.mean(losses)), "seconds": time.time() - start})
      losses = []
    if step % every == 0 or step == steps:
      scores = score(tokenizer, model, dev)
      log(step, "valid", scores)
  about = {"task": _TASK.value, "seed": _SEED.value, "steps": steps, "seconds": round(time.time() - start)}
  print(json.dumps(about | {"processor_seconds": round(time.process_time() - used)} | scores))


def log(step: int, split: str, values: dict[str, float]) -> None:
  """Tells the metrics, and adds them to the curve."""
  print(f"{split} at step {step}: {'  '.join(f'{name} {value:.4g}' for name, value in values.items())}", flush=True)
  if _WORKDIR.value:
    with (Path(_WORKDIR.value) / "metrics.jsonl").open("a", encoding="utf-8") as f:
      f.write(json.dumps({"step": step, "split": split, **values}) + "\n")


def read(split: str) -> tuple[list[tuple[str, ...]], list[float]]:
  """Texts and labels of a split."""
  folder, texts, label, labels, header = TASKS[_TASK.value]
  path = Path(_DATA.value) / folder / f"{split}.tsv"
  with path.open(encoding="utf-8", newline="") as f:
    rows = list(csv.reader(f, delimiter="\t", quoting=csv.QUOTE_NONE))
  if header:
    names = rows.pop(0)
    texts, label = [names.index(name) for name in texts], names.index(label)
  values = [labels.index(row[label]) if labels else float(row[label]) for row in rows]
  return [tuple(row[i] for i in texts) for row in rows], values


def encode(tokenizer, texts, values):
  """One dictionary of ids, types and label an example."""
  encoded = tokenizer(
    *[list(column) for column in zip(*texts)], truncation=True, max_length=_MAX_LENGTH.value, return_token_type_ids=True
  )
  return [
    {"input_ids": ids, "token_type_ids": types, "labels": value}
    for ids, types, value in zip(encoded["input_ids"], encoded["token_type_ids"], values)
  ]


def endless_batches(examples, rng):
  """The batches of one epoch after the other."""
  while True:
    yield from batches(examples, rng)


def batches(examples, rng):
  """An epoch's batches: in random order, sorted by length inside pools of `length_pool` batches."""
  order = rng.permutation(len(examples))
  pool, size = _POOL.value * _BATCH_SIZE.value, _BATCH_SIZE.value
  found = []
  for first in range(0, len(order), pool or size):
    part = order[first : first + (pool or size)]
    if pool:
      part = sorted(part, key=lambda i: len(examples[i]["input_ids"]))
    found += [part[i : i + size] for i in range(0, len(part), size)]
  return [found[i] for i in rng.permutation(len(found))]


def collate(tokenizer, examples):
  """Pads to the longest."""
  label_type = torch.long if TASKS[_TASK.value][3] else torch.float
  labels = torch.tensor([e["labels"] for e in examples], dtype=label_type)
  padded = tokenizer.pad([{k: v for k, v in e.items() if k != "labels"} for e in examples], return_tensors="pt")
  return {**padded, "labels": labels}


def make_optimizer(model, steps):
  """AdamW and its schedule."""
  if _LAYER_DECAY.value != 1 and model.config.model_type != "bert":
    raise app.UsageError(f"--layer_decay is for BERT, whose layers are apart, not for {model.config.model_type}.")
  groups = [
    {
      "params": [parameter],
      "weight_decay": 0.0 if name.endswith(("bias", "LayerNorm.weight")) else 0.01,
      "lr": _LEARNING_RATE.value * depth_factor(name, model.config.num_hidden_layers),
    }
    for name, parameter in model.named_parameters()
  ]
  optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.999), eps=1e-6)
  warmup = round(_WARMUP.value * steps)
  rate = lambda step: step / warmup if step < warmup else 1 - step / steps  # noqa: E731
  return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, rate)


def depth_factor(name: str, layers: int) -> float:
  """What `layer_decay` makes of a parameter's rate: decay^(L − l) in layer l, decay^(L + 1) in the embeddings."""
  if ".embeddings." in name:
    return _LAYER_DECAY.value ** (layers + 1)
  layer = re.search(r"\.encoder\.layer\.(\d+)\.", name)
  return _LAYER_DECAY.value ** (layers - int(layer[1])) if layer else 1.0


@torch.no_grad()
def score(tokenizer, model, examples) -> dict[str, float]:
  """The task's metrics."""
  model.eval()
  logits = [model(**collate(tokenizer, examples[i : i + 64])).logits for i in range(0, len(examples), 64)]
  logits, labels = torch.cat(logits).numpy(), np.array([e["labels"] for e in examples])
  if _TASK.value == "stsb":
    pearson, spearman = stats.pearsonr(logits[:, 0], labels)[0], stats.spearmanr(logits[:, 0], labels)[0]
    return {"pearson": float(pearson), "spearman": float(spearman)}
  guess = logits.argmax(-1)
  found = {"accuracy": float((guess == labels).mean())}
  if _TASK.value == "cola":
    found["matthews"] = float(metrics.matthews_corrcoef(labels, guess))
  return found


if __name__ == "__main__":
  app.run(main)
