"""Fine-tunes a Hugging Face model on a GLUE task in PyTorch: the peer that `configs/glue.py` is held against.

  python scripts/finetune_torch.py --model=HF_FOLDER --data=GLUE_FOLDER --task=sst2 --seed=0 --epochs=1 \
    --learning_rate=5e-5 --batch_size=32

Needs torch and transformers (the extra `test`). The recipe is that of the config: AdamW with bias correction, weight
decay 0.01 off biases and LayerNorms, global clip 1.0, linear warm-up and decay, batches of rows of about equal length.
The last line is a JSON object with the metrics.
"""

import csv
import json
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
_EPOCHS = flags.DEFINE_integer("epochs", 3, "Passes over the training set.")
_LEARNING_RATE = flags.DEFINE_float("learning_rate", 5e-5, "The peak.")
_WARMUP = flags.DEFINE_float("warmup", 0.1, "Share of the steps.")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 32, "Examples a step.")
_MAX_LENGTH = flags.DEFINE_integer("max_length", 128, "Tokens of an example at most.")
_POOL = flags.DEFINE_integer("length_pool", 50, "Batches whose examples are sorted by length together.")
_THREADS = flags.DEFINE_integer("threads", 0, "0 = as many as there are cores.")

# Folder, columns of the texts and of the label, labels (none: a number), whether there is a header.
TASKS = {
  "sst2": ("SST-2", ("sentence",), "label", ("0", "1"), True),
  "stsb": ("STS-B", ("sentence1", "sentence2"), "score", (), True),
  "rte": ("RTE", ("sentence1", "sentence2"), "label", ("entailment", "not_entailment"), True),
  "cola": ("CoLA", (3,), 1, ("0", "1"), False),
}


def main(_):
  """Trains, and evaluates once at the end."""
  if _THREADS.value:
    torch.set_num_threads(_THREADS.value)
  torch.manual_seed(_SEED.value)
  rng = np.random.default_rng(_SEED.value)
  labels = TASKS[_TASK.value][3]
  tokenizer = transformers.AutoTokenizer.from_pretrained(_MODEL.value)
  model = transformers.AutoModelForSequenceClassification.from_pretrained(
    _MODEL.value, num_labels=len(labels) or 1, problem_type=None if labels else "regression"
  )
  train, dev = (encode(tokenizer, *read(split)) for split in ("train", "dev"))
  steps_per_epoch = -(-len(train) // _BATCH_SIZE.value)
  optimizer, schedule = make_optimizer(model, steps_per_epoch * _EPOCHS.value)
  model.train()
  start, step, losses = time.time(), 0, []
  for _ in range(_EPOCHS.value):
    for rows in batches(train, rng):
      loss = model(**collate(tokenizer, [train[i] for i in rows])).loss
      loss.backward()
      torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
      optimizer.step()
      schedule.step()
      optimizer.zero_grad()
      losses.append(loss.item())
      step += 1
      if step % 200 == 0:
        print(f"step {step} loss {np.mean(losses[-200:]):.4f} {time.time() - start:.0f} s", flush=True)
  seconds = time.time() - start
  print(
    json.dumps(
      {"task": _TASK.value, "seed": _SEED.value, "steps": step, "seconds": round(seconds)}
      | score(tokenizer, model, dev)
    )
  )


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
  vectors = ("bias", "LayerNorm.weight")
  groups = [
    {"params": [p for n, p in model.named_parameters() if not n.endswith(vectors)], "weight_decay": 0.01},
    {"params": [p for n, p in model.named_parameters() if n.endswith(vectors)], "weight_decay": 0.0},
  ]
  optimizer = torch.optim.AdamW(groups, lr=_LEARNING_RATE.value, betas=(0.9, 0.999), eps=1e-6)
  warmup = round(_WARMUP.value * steps)
  rate = lambda step: step / warmup if step < warmup else 1 - step / steps  # noqa: E731
  return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, rate)


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
