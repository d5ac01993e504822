"""The fields of Hugging Face's `config.json`, and what they are in a config's `model` record."""

from collections.abc import Mapping
from typing import Any

from albert_jax.errors import InputError, unknown
from albert_jax.models import sharing
from albert_jax.models.layers import LAYER_NORM_EPSILON

FAMILIES = ("albert", "bert")
ACTIVATIONS = {"gelu": "gelu", "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "relu": "relu"}
_ACTIVATION_NAMES = {"gelu": "gelu", "gelu_tanh": "gelu_new", "relu": "relu"}

# our key → (Hugging Face's, what transformers takes where the field is absent: BERT's, ALBERT's)
_SIZES = {
  "vocab_size": ("vocab_size", 30522, 30000),
  "width": ("hidden_size", 768, 4096),
  "layers": ("num_hidden_layers", 12, 12),
  "heads": ("num_attention_heads", 12, 64),
  "ffn": ("intermediate_size", 3072, 16384),
  "positions": ("max_position_embeddings", 512, 512),
  "token_types": ("type_vocab_size", 2, 2),
}
_RATES = {
  "dropout": ("hidden_dropout_prob", 0.1, 0.0),
  "attention_dropout": ("attention_probs_dropout_prob", 0.1, 0.0),
}

# What `config.json` must be of, as far as it is read here.
SHAPE = {f"{hf}?": int for hf, *_ in _SIZES.values()} | {f"{hf}?": float for hf, *_ in _RATES.values()}
SHAPE |= {"embedding_size?": int, "inner_group_num?": int, "num_hidden_groups?": int, "layer_norm_eps?": float}
SHAPE |= {"classifier_dropout?": (float, None), "classifier_dropout_prob?": (float, None), "hidden_act?": str}
SHAPE |= {"architectures?": ([str], None), "problem_type?": (str, None), "id2label?": ({str: str}, None)}

# Fields that change what a model computes, with the values that ours compute. Fields beyond these and the ones above
# are let pass: they are of training, generation or tokenising, or leftovers of the original code (`pooler_type`,
# `net_structure_type`), and transformers' own BERT and ALBERT do not read them either. What a fork adds to the graph
# shows as `auto_map`, as another model type, or as tensors, which are all accounted for.
_MUST_BE: dict[str, tuple] = {
  "position_embedding_type": ("absolute", None),
  "is_decoder": (False, None),
  "add_cross_attention": (False, None),
  "is_encoder_decoder": (False, None),
  "tie_word_embeddings": (True, None),
  "pruned_heads": ({}, None),
  "quantization_config": (None,),
  "auto_map": (None,),
}


def model_record(fields: Mapping[str, Any], file: str) -> dict[str, Any]:
  """The `model` record of a BERT's or ALBERT's `config.json`, with `classifier_dropout`.

  Raises:
    InputError: it is another kind of model, or has a field that our models do not follow.
  """
  albert = family(fields, file) == "albert"
  for name, accepted in _MUST_BE.items():
    if fields.get(name) not in accepted:
      other = "models without it" if accepted[0] is None else repr(accepted[0])
      raise InputError(f"{file}: {name} is {fields[name]!r}; only {other} can be read.")
  epsilon = fields.get("layer_norm_eps", LAYER_NORM_EPSILON)
  if epsilon != LAYER_NORM_EPSILON:
    raise InputError(f"{file}: layer_norm_eps is {epsilon!r}; our LayerNorms add {LAYER_NORM_EPSILON}, as published.")
  activation = fields.get("hidden_act", "gelu_new" if albert else "gelu")
  if activation not in ACTIVATIONS:
    raise unknown(f"hidden_act in {file}", activation, ACTIVATIONS)
  record = {ours: _size(fields, hf, default[albert], file) for ours, (hf, *default) in _SIZES.items()}
  record |= {ours: _rate(fields, hf, default[albert], file) for ours, (hf, *default) in _RATES.items()}
  record["kind"] = "transformer"
  record["embedding"] = _size(fields, "embedding_size", 128, file) if albert else record["width"]
  record["activation"] = ACTIVATIONS[activation]
  record["project_embeddings"] = albert  # transformers' ALBERT projects at E = H too
  table = albert_table(record["layers"], *inner_and_groups(fields, file)) if albert else tuple(range(record["layers"]))
  record["layers"] = len(table)
  record["sharing"] = {"attn": scheme_of(table), "ffn": scheme_of(table)}
  rate = "classifier_dropout_prob" if albert else "classifier_dropout"
  default = 0.1 if albert else record["dropout"]
  record["classifier_dropout"] = default if fields.get(rate) is None else _rate(fields, rate, default, file)
  return record


def family(fields: Mapping[str, Any], file: str) -> str:
  """ "bert" or "albert"."""
  kind = fields.get("model_type")
  if kind not in FAMILIES:
    raise InputError(f"{file}: model_type is {kind!r}; only {' and '.join(FAMILIES)} can be read.")
  return kind


def inner_and_groups(fields: Mapping[str, Any], file: str) -> tuple[int, int]:
  """ALBERT's layers inside a group, and its groups."""
  groups = _size(fields, "num_hidden_groups", 1, file)
  layers = _size(fields, "num_hidden_layers", 12, file)
  if groups > layers:
    raise InputError(f"{file}: num_hidden_groups {groups} is more than num_hidden_layers {layers}.")
  return _size(fields, "inner_group_num", 1, file), groups


def albert_table(layers: int, inner: int, groups: int) -> sharing.Table:
  """The table of transformers' ALBERT: each of its layers runs all `inner` layers of its group.

  Group g's layer i is our weight group g·inner + i. The quotient is rounded as transformers rounds it.
  """
  return tuple(int(layer / (layers / groups)) * inner + i for layer in range(layers) for i in range(inner))


def scheme_of(table: sharing.Table) -> str:
  """The name of the scheme that gives a table, or else the table."""
  groups = sharing.num_groups(table)
  for scheme in ("all", "none", f"groups:{groups}", f"cycle:{groups}"):
    if sharing.make_table(scheme, len(table)) == table:
      return scheme
  return ",".join(map(str, table))


def albert_layout(table: sharing.Table) -> tuple[int, int, int] | None:
  """(layers, inner, groups) with which `albert_table` gives a table; None where there are none."""
  for inner in range(1, len(table) + 1):
    layers, groups = len(table) // inner, sharing.num_groups(table) // inner
    if 1 <= groups <= layers and albert_table(layers, inner, groups) == table:
      return layers, inner, groups
  return None


def config_fields(model: Mapping[str, Any], layout: tuple[int, int, int] | None) -> dict[str, Any]:
  """`config.json` of a model: an ALBERT where there is a layout (layers, inner, groups), else a BERT."""
  fields = {"model_type": "bert" if layout is None else "albert", "dtype": "float32", "tie_word_embeddings": True}
  fields |= {hf: model[ours] for ours, (hf, *_) in (_SIZES | _RATES).items()}
  fields |= {"hidden_act": _ACTIVATION_NAMES[model["activation"]], "layer_norm_eps": LAYER_NORM_EPSILON}
  dropout = model.get("classifier_dropout", 0.1)
  if layout is None:
    return fields | {"classifier_dropout": dropout}
  layers, inner, groups = layout
  fields |= {"num_hidden_layers": layers, "inner_group_num": inner, "num_hidden_groups": groups}
  return fields | {"embedding_size": model["embedding"], "classifier_dropout_prob": dropout}


def labels_of(fields: Mapping[str, Any], outputs: int, file: str) -> tuple[tuple[str, ...], bool]:
  """The labels of a classifier with `outputs` outputs, and whether it is a regression."""
  problem = fields.get("problem_type")
  if problem == "multi_label_classification":
    raise InputError(f"{file}: problem_type is {problem!r}; only one label an example can be read.")
  names = fields.get("id2label") or {str(i): f"LABEL_{i}" for i in range(outputs)}
  if sorted(names) != sorted(map(str, range(outputs))):
    raise InputError(f"{file}: id2label must name the classifier's outputs 0 … {outputs - 1}, it is {str(names)[:80]}.")
  if len(set(names.values())) < outputs:
    raise InputError(f"{file}: id2label gives two outputs the same name; each class needs one of its own.")
  regression = problem == "regression" or (problem is None and outputs == 1)
  if regression and outputs != 1:
    raise InputError(f"{file}: a regression to {outputs} numbers; only one can be read.")
  return tuple(names[str(i)] for i in range(outputs)), regression


# Beyond these a config.json is damaged; a table with an entry for each layer would fill the memory.
_LARGEST = {"num_hidden_layers": 10_000, "inner_group_num": 10_000, "num_hidden_groups": 10_000}


def _size(fields: Mapping[str, Any], name: str, default: int, file: str) -> int:
  value, largest = fields.get(name, default), _LARGEST.get(name, 2**31 - 1)
  if not 1 <= value <= largest:
    raise InputError(f"{file}: {name} is {value}, it must be from 1 to {largest}.")
  return value


def _rate(fields: Mapping[str, Any], name: str, default: float, file: str) -> float:
  value = fields.get(name, default)
  if not 0 <= value < 1:
    raise InputError(f"{file}: {name} is {value}, it must be in [0, 1).")
  return float(value)
