"""Refuses, by name, what a folder in Hugging Face's layout asks for and these tokenizers would not do.

A folder is read only where text gets the ids that it asks for. Its settings and its `tokenizer.json` may say in many
ways that text is to be treated otherwise; what is allowed is listed here, and everything else is an error.
"""

import functools
import itertools
import json
import re
import sys
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import tokenizers

from albert_jax.data.tokenizers.base import Tokenizer
from albert_jax.data.tokenizers.hf_json import sentencepiece_normalizer
from albert_jax.data.tokenizers.sentencepiece import SPACE, SentencePieceTokenizer
from albert_jax.data.tokenizers.wordpiece import WordPieceTokenizer
from albert_jax.errors import InputError

SPECIALS = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
_TOKEN = (str, None, {"content": str})
SETTINGS_SHAPE = {
  "do_lower_case?": (bool, None),
  "strip_accents?": (bool, None),
  "keep_accents?": (bool, None),
  "tokenizer_class?": (str, None),
  "added_tokens_decoder?": ({str: {"content": str}}, None),
  "additional_special_tokens?": ([_TOKEN], None),
  "extra_special_tokens?": ([_TOKEN], {str: _TOKEN}, None),
  **{f"{name}?": _TOKEN for name in SPECIALS},
}
DEFINITION_SHAPE = {
  "model": {
    "type?": (str, None),
    "vocab": ({str: int}, [[(str, float)]]),
    "byte_fallback?": (bool, None),
    "unk_id?": (int, None),
  },
  "normalizer?": ({"type": str, "normalizers?": [{"type": str}]}, None),
  "pre_tokenizer?": ({"type": str, "pretokenizers?": [{"type": str}]}, None),
  "added_tokens?": ([{"id": int, "content": str}], None),
}
ADDED_SHAPE = {str: int}

# A range of characters in a regular expression, in JSON.
_RANGE = re.compile(r"\\\\x\{([0-9a-f]{1,6})\}-\\\\x\{([0-9a-f]{1,6})\}")

# Settings that change ids, and the value with which they do not.
_MUST_BE = {
  "tokenize_chinese_chars": True,
  "do_basic_tokenize": True,
  "remove_space": True,
  "clean_text": True,
  "wordpieces_prefix": "##",
  "word_tokenizer_type": "basic",
  "subword_tokenizer_type": "wordpiece",
  "never_split": None,
}
_GENERAL_CLASSES = {"PreTrainedTokenizer", "TokenizersBackend"}
_CLASSES = {  # without "Fast"
  WordPieceTokenizer: {"BertTokenizer", "DistilBertTokenizer", "ElectraTokenizer", "MobileBertTokenizer"},
  SentencePieceTokenizer: {"AlbertTokenizer"},
}
_BERT_NORMALIZER = {"clean_text": True, "handle_chinese_chars": True}
_WORDPIECE = {"unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100}
_QUOTES = [{"type": "Replace", "pattern": {"String": quotes}, "content": '"'} for quotes in ("``", "''")]
_SPACES = {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}


def check_settings(settings: Mapping[str, Any], file: Path, make: type[Tokenizer]) -> None:
  """Checks `tokenizer_config.json` or `special_tokens_map.json`."""
  for name, value in _MUST_BE.items():
    if settings.get(name, value) not in (value, [] if value is None else value):
      raise InputError(f"{file}: {name} is {settings[name]!r}; only {value} can be followed.")
  given = (settings.get("tokenizer_class") or "").removesuffix("Fast")
  known = _GENERAL_CLASSES | _CLASSES[make]
  if given and given not in known:
    raise InputError(
      f"{file}: tokenizer_class is {settings['tokenizer_class']}, which may give other ids than a {make.kind} "
      f"tokenizer; {', '.join(sorted(known))} can be read."
    )
  for name, piece in zip(SPECIALS, make.special_pieces):
    token = _content(settings.get(name) or piece)
    if token != piece:
      raise InputError(f"{file}: {name} is {token!r}; a {make.kind} vocabulary has {piece!r} in its place.")
  more = [*(settings.get("additional_special_tokens") or ())]
  extra = settings.get("extra_special_tokens") or ()
  more += extra.values() if isinstance(extra, dict) else extra
  check_added(filter(None, map(_content, more)), file, make)
  check_added((token["content"] for token in (settings.get("added_tokens_decoder") or {}).values()), file, make)


def check_added(added: Iterable[str], file: Path, make: type[Tokenizer]) -> None:
  """Checks the tokens that a file adds to the vocabulary."""
  if unknown := sorted({*added} - {*make.special_pieces}):
    names = ", ".join(map(repr, unknown[:5]))
    raise InputError(f"{file} adds {names} to the vocabulary; only {', '.join(make.special_pieces)} can be told apart.")


def check_added_ids(tokens: Iterable[tuple[Any, str]], file: Path, tokenizer: Tokenizer) -> None:
  """Checks that special pieces have the ids, (id, piece), that a file gives them."""
  ids = dict(zip(tokenizer.special_pieces, tokenizer.special_ids))
  for number, piece in tokens:
    if str(ids[piece]) != str(number):
      raise InputError(f"{file}: {piece} has the id {number}, but {ids[piece]} in the vocabulary.")


def check_definition(definition: Mapping[str, Any], file: Path, make: type[Tokenizer], *, lowercase: bool) -> None:
  """Checks `tokenizer.json`: its rules for text, and how its model splits words."""
  check_added((token["content"] for token in definition.get("added_tokens") or ()), file, make)
  if make is WordPieceTokenizer:
    _check_wordpiece(definition, file)
  else:
    _check_sentencepiece(definition, file, lowercase)


def normalizers(definition: Mapping[str, Any]) -> list[Mapping[str, Any]]:
  """The steps of the normalizer."""
  return _steps(definition.get("normalizer"), "normalizers")


def _check_wordpiece(definition: Mapping[str, Any], file: Path) -> None:
  model, steps = definition["model"], normalizers(definition)
  for name, value in _WORDPIECE.items():
    if model.get(name, value) != value:
      raise InputError(f"{file}: {name} is {model[name]!r}; only {value!r} can be followed.")
  if [step["type"] for step in steps] != ["BertNormalizer"]:
    raise InputError(f"{file}: {_found('normalizer', steps)}; only BertNormalizer can be followed.")
  for name, value in _BERT_NORMALIZER.items():
    if steps[0].get(name, value) is not value:
      raise InputError(f"{file}: {name} of the normalizer is {steps[0][name]}; only {value} can be followed.")
  for name in ("lowercase", "strip_accents"):
    if not isinstance(steps[0].get(name), bool | None):
      raise InputError(f"{file}: {name} of the normalizer is {steps[0][name]!r}, not true or false.")
  splitters = _pre_tokenizers(definition)
  if [step["type"] for step in splitters] != ["BertPreTokenizer"]:
    raise InputError(f"{file}: {_found('pre_tokenizer', splitters)}; only BertPreTokenizer can be followed.")


def _check_sentencepiece(definition: Mapping[str, Any], file: Path, lowercase: bool) -> None:
  vocabulary, number = definition["model"]["vocab"], definition["model"].get("unk_id")
  if number is not None and not (0 <= number < len(vocabulary) and vocabulary[number][0] == "<unk>"):
    raise InputError(f"{file}: unk_id is {number}, which is not the id of <unk>.")
  steps = normalizers(definition)
  charsmaps = [step.get("precompiled_charsmap") for step in steps if step["type"] == "Precompiled"]
  if any(not isinstance(charsmap, str) or not charsmap for charsmap in charsmaps):
    raise InputError(f"{file}: the normalizer's precompiled_charsmap is empty, or no text.")
  core = [step for step in steps if step["type"] not in ("Precompiled", "NFC")]
  lower = [{"type": name} for name in ("NFKD", "StripAccents", "Lowercase")] if lowercase else []
  albert = [*_QUOTES, *lower]  # of transformers
  if core not in (albert, [*albert, _SPACES]) and not _are_alike(core, _own_steps(lowercase)):
    different = next((a for a, b in itertools.zip_longest(core, albert) if a != b and a), None)
    what = f"has the step {json.dumps(different)[:80]}" if different else "lacks steps"
    raise InputError(f"{file}: the normalizer {what}; only that of an ALBERT can be followed.")
  splitters = _pre_tokenizers(definition)
  rest = [step for step in splitters if step["type"] != "WhitespaceSplit"]
  if [step["type"] for step in rest] != ["Metaspace"]:
    raise InputError(f"{file}: {_found('pre_tokenizer', splitters)}; only Metaspace can be followed.")
  for name, values in (("replacement", (SPACE,)), ("prepend_scheme", ("first", "always")), ("split", (True,))):
    if rest[0].get(name, values[0]) not in values:
      raise InputError(f"{file}: {name} of the pre_tokenizer is {rest[0][name]!r}; only {values[0]!r} can be followed.")


def _pre_tokenizers(definition: Mapping[str, Any]) -> list[Mapping[str, Any]]:
  return _steps(definition.get("pre_tokenizer"), "pretokenizers")


def _steps(outer: Mapping[str, Any] | None, inner: str) -> list[Mapping[str, Any]]:
  if outer is None:
    return []
  return outer[inner] if outer["type"] == "Sequence" and inner in outer else [outer]


@functools.cache
def _own_steps(lowercase: bool) -> list[dict]:
  """The steps that `hf_json.to_backend` writes."""
  backend = tokenizers.Tokenizer(tokenizers.models.Unigram([("a", 0.0)], 0))
  backend.normalizer = sentencepiece_normalizer(lowercase, b"")
  return json.loads(backend.to_str())["normalizer"]["normalizers"]


def _are_alike(steps: list[dict], own: list[dict]) -> bool:
  """Whether steps are ours, as this Python writes them or another: each knows the marks of its version of Unicode.

  What Unicode 3.2 has must be the same: its characters are those of every version.
  """
  texts = [[json.dumps(step) for step in side] for side in (steps, own)]
  if [_RANGE.sub("", text) for text in texts[0]] != [_RANGE.sub("", text) for text in texts[1]]:
    return False
  for pair in zip(*texts):
    characters = [
      {code for a, b in _RANGE.findall(text) for code in range(int(a, 16), min(int(b, 16), sys.maxunicode) + 1)}
      for text in pair
    ]
    if any(unicodedata.ucd_3_2_0.category(chr(code)) != "Cn" for code in characters[0] ^ characters[1]):
      return False
  return True


def _content(token: Any) -> str | None:
  return token.get("content") if isinstance(token, dict) else token


def _found(what: str, steps: list[Mapping[str, Any]]) -> str:
  return f"the {what} is {', '.join(step['type'] for step in steps) or 'missing'}"
