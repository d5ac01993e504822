"""The model card of an exported model: what it is and how it was trained, from the files of its run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_collections

from albert_jax.models import sharing
from albert_jax.models.param import count
from albert_jax.training.init_from import Pretrained
from albert_jax.training.log.metrics import FILE as METRICS_FILE
from albert_jax.training.log.metrics import records

_PAIRS = {
  "sop": "Pairs of segments are labelled 0 in order, 1 swapped (`sentence_order_label`, `next_sentence_label`).",
  "nsp": "Pairs of segments are labelled 0 where B follows A, 1 where it is random (`next_sentence_label`).",
}


def model_card(
  config: ml_collections.ConfigDict, pretrained: Pretrained, params: Mapping, name: str, *, unshared: bool
) -> str:
  """The text of `README.md`.

  Args:
    config: of the run.
    pretrained: the checkpoint.
    params: what is exported.
    name: of the class that loads it.
    unshared: whether shared weights were copied to each layer.
  """
  model = pretrained.model
  rows = {
    "class": f"`{name}`",
    "parameters": f"{count(params):,}" + (f" ({count(pretrained.specs):,} in training)" if unshared else ""),
    "layers × width": f"{model['layers']} × {model['width']}",
    "heads, feed-forward": f"{model['heads']}, {model['ffn']}",
    "embedding, vocabulary": f"{model['embedding']}, {model['vocab_size']}",
    "positions": model["positions"],
    **{f"sharing of {part}": _sharing(scheme, model["layers"]) for part, scheme in model["sharing"].items() if scheme},
    "steps": pretrained.step,
    **_training(config),
  }
  lines = ["---", "library_name: transformers", "tags: [albert_jax]", "---", "", f"# {config.name}", ""]
  lines += [f"Trained with albert_jax for the task `{pretrained.task}`.", ""]
  lines += ["| | |", "|---|---|", *(f"| {key} | {value} |" for key, value in rows.items()), ""]
  if unshared:
    lines += ["Layers share weights in a way that this class cannot express; here each layer has a copy.", ""]
  if config.task == "pretrain" and (pairs := _PAIRS.get(config.data.pair_objective)):
    lines += [pairs, ""]
  for split, metrics in _last_metrics(Path(pretrained.path) / METRICS_FILE, pretrained.step).items():
    lines += [
      f"**{split}** at step {metrics.pop('step')}: " + ", ".join(f"{k} {v:.4g}" for k, v in metrics.items()),
      "",
    ]
  pooler = ", add_pooling_layer=False" if name.endswith("Model") and "pooler" not in params else ""
  lines += ["```python", "import transformers", "", f"model = transformers.{name}.from_pretrained(FOLDER{pooler})"]
  return "\n".join([*lines, "tokenizer = transformers.AutoTokenizer.from_pretrained(FOLDER)", "```", ""])


def _sharing(scheme: Any, layers: int) -> str:
  scheme = scheme if isinstance(scheme, str) else tuple(scheme)
  return f"`{scheme}`: layers read weight groups {' '.join(map(str, sharing.make_table(scheme, layers)))}"


def _training(config: ml_collections.ConfigDict) -> dict[str, Any]:
  """Rows about the training, from the config; an imported model has none."""
  flat = config.to_dict()
  keys = {
    "text": ("data", "source"),
    "data": ("data", "dir"),
    "started from": ("init_from",),
    "pair objective": ("data", "pair_objective"),
    "length": ("data", "max_length"),
    "batch": ("train", "batch_size"),
    "optimizer": ("optimizer", "name"),
    "learning rate": ("optimizer", "learning_rate"),
    "seed": ("seed",),
  }
  found = {}
  for title, path in keys.items():
    value: Any = flat
    for key in path:
      value = value.get(key, "") if isinstance(value, dict) else ""
    if value != "":
      found[title] = value
  return found


def _last_metrics(path: Path, step: int | None) -> dict[str, dict[str, Any]]:
  """The metrics of each split that were written last, up to a step."""
  last: dict[str, dict[str, Any]] = {}
  for record in records(path):
    if step is None or record["step"] <= step:
      last[record.pop("split")] = record
  return {
    split: {key: value for key, value in record.items() if isinstance(value, (int, float))}
    for split, record in last.items()
  }
