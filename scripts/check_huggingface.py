"""Holds our reading of a Hugging Face folder against transformers and PyTorch: hidden states, embeddings and ids.

python scripts/check_huggingface.py --source=FOLDER [--text=FILE] [--lines=1000]

Needs the extra `test`. Float32 on CPU, without dropout; rows of 32 texts with padding. Differences are of real
positions, absolute and as a share of the largest value; `embeddings` are means over positions.
"""

import functools
import json

import jax
import ml_collections
import numpy as np
import torch
import transformers
from absl import flags
from flax import nnx

from albert_jax import cli
from albert_jax.errors import InputError
from albert_jax.files import require_file
from albert_jax.interop.huggingface import read_huggingface
from albert_jax.models.encoder import Encoder
from albert_jax.models.param import abstract_module
from albert_jax.tasks.settings import RUNTIME, encoder_config

SOURCE = flags.DEFINE_string("source", None, "Folder with config.json, safetensors and tokenizer.", required=True)
TEXT = flags.DEFINE_string("text", "", "More texts, one a line.")
LINES = flags.DEFINE_integer("lines", 1000, "Lines of --text at most.", lower_bound=1)
LENGTH = flags.DEFINE_integer("length", 128, "Tokens of a text at most, for the hidden states.", lower_bound=3)

ROWS = 32
TEXTS = [
  "The quick brown fox jumps over the lazy dog, 3.5 times in 2008.",
  "Ünïcödé: ÀÉÎÕÜ ça naïve İstanbul ß ς ΟΔΟΣ Ёлка",
  "中文字符 日本語のテキスト 한국어 ไทย हिन्दी العربية עברית Ελληνικά Привет мир",
  "emoji 🦊 👩‍👩‍👧 🇩🇪 ☃ ok",
  "x\u0000y \u0007bell \u200bzero \ufeffmark \ufffd \u00adsoft\x0b\x85 e\u0301",
  "``quoted'' ﬁne ² Ⅷ Å Ａ ½ … don't e@x.com --- ?!",
  "a" * 150 + " long " + "word " * 100,
  "",
]


def main(_: list[str]) -> None:
  """Prints one JSON object."""
  jax.config.update("jax_platforms", "cpu")
  found = read_huggingface(SOURCE.value)
  if found.tokenizer is None:
    raise InputError(f"{SOURCE.value} has no tokenizer.")
  texts = [*TEXTS, *_lines()]
  ours, theirs = _our_ids(found, texts), _their_ids(texts)
  differing = sum(a != b for a, b in zip(ours, theirs))
  result = {"texts": len(texts), "tokens": sum(map(len, theirs)), "texts_with_other_ids": differing}
  batch = [ids[: LENGTH.value - 1] + ids[-1:] if len(ids) > LENGTH.value else ids for ids in theirs]
  model = transformers.AutoModel.from_pretrained(SOURCE.value).eval()
  encode = _encoder(found)
  pairs = [_states(encode, model, batch[i : i + ROWS], found.tokenizer.pad_id) for i in range(0, len(batch), ROWS)]
  for name, (a, b) in {
    "hidden_states": [np.concatenate([p[s].reshape(-1, p[s].shape[-1])[p[2].ravel()] for p in pairs]) for s in (0, 1)],
    "embeddings": [np.concatenate([_means(p[s], p[2]) for p in pairs]) for s in (0, 1)],
  }.items():
    difference = float(np.abs(a - b).max())
    result[name] = {"shape": a.shape, "absolute": difference, "relative": difference / float(np.abs(b).max())}
  print(json.dumps(result))


def _lines() -> list[str]:
  if not TEXT.value:
    return []
  require_file(TEXT.value)
  with open(TEXT.value, encoding="utf-8") as file:
    return [line for line in map(str.strip, file) if line][: LINES.value]


def _our_ids(found, texts: list[str]) -> list[list[int]]:
  tokenizer = found.tokenizer
  return [[tokenizer.cls_id, *ids, tokenizer.sep_id] for ids in tokenizer.encode_batch(texts)]


def _their_ids(texts: list[str]) -> list[list[int]]:
  tokenizer = transformers.AutoTokenizer.from_pretrained(SOURCE.value)
  return [tokenizer(text, truncation=False, padding=False)["input_ids"] for text in texts]


def _encoder(found):
  config = encoder_config(ml_collections.ConfigDict(found.model | RUNTIME | {"dtype": "float32"}))
  graph = abstract_module(lambda rngs: Encoder(config, rngs=rngs))

  @jax.jit
  def encode(params, *rows):
    return nnx.merge(graph, params)(*rows, None)

  return functools.partial(encode, found.params["encoder"])


def _states(encode, model, batch: list[list[int]], pad_id: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """The last hidden states of both [B, T, D], and where they are real."""
  length = -(-max(map(len, batch)) // 32) * 32  # few lengths, few compilations
  tokens = np.array([ids + [pad_id] * (length - len(ids)) for ids in batch])
  real = np.arange(length) < np.array(list(map(len, batch)))[:, None]
  ours = encode(tokens, np.zeros_like(tokens), real.astype(np.int32), np.arange(length) * real)
  with torch.no_grad():
    theirs = model(input_ids=torch.tensor(tokens), attention_mask=torch.tensor(real.astype(np.int64)))
  return np.asarray(ours), theirs.last_hidden_state.numpy(), real


def _means(x_BTD: np.ndarray, real_BT: np.ndarray) -> np.ndarray:
  return (x_BTD * real_BT[..., None]).sum(1) / real_BT.sum(1, keepdims=True)


if __name__ == "__main__":
  cli.run(main)
