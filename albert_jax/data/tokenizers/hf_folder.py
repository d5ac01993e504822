"""Tokenizers in Hugging Face's layout: a folder with a vocabulary's file, `tokenizer.json` and settings."""

import base64
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from albert_jax.data.tokenizers import spm_proto
from albert_jax.data.tokenizers.base import Tokenizer
from albert_jax.data.tokenizers.hf_check import (
  ADDED_SHAPE,
  DEFINITION_SHAPE,
  SETTINGS_SHAPE,
  SPECIALS,
  check_added,
  check_added_ids,
  check_definition,
  check_settings,
  normalizers,
)
from albert_jax.data.tokenizers.hf_json import COMMA_PENALTY, ends_in_digit_comma, to_backend
from albert_jax.data.tokenizers.sentencepiece import SentencePieceTokenizer
from albert_jax.data.tokenizers.wordpiece import WordPieceTokenizer
from albert_jax.errors import InputError
from albert_jax.files import new_folder, read_bytes
from albert_jax.json_files import read_json

FOLDER = "tokenizer"  # of a workdir
DEFINITION, SETTINGS = "tokenizer.json", "tokenizer_config.json"

_FILES = {"wordpiece": "vocab.txt", "sentencepiece": "spiece.model"}


def has_tokenizer(folder: str) -> bool:
  """Whether a folder has a tokenizer's files."""
  return _vocabulary(Path(folder)) is not None


def load_folder(folder: str, *, lowercase: bool | None = None) -> Tokenizer:
  """Loads a WordPiece or SentencePiece tokenizer of BERT or ALBERT, with or without `tokenizer.json`.

  Args:
    folder: with vocab.txt, spiece.model (or another .model) or tokenizer.json alone; or the path of a tokenizer.json.
    lowercase: None takes what the settings say, and without settings looks at the vocabulary.

  Raises:
    InputError: a file is missing or damaged, files disagree, or text would get other ids than the folder asks for.
  """
  path = Path(folder)
  file = path if path.is_file() else _vocabulary(path)
  if file is None:
    raise InputError(f"{folder} has no tokenizer: no vocab.txt, no .model file and no {DEFINITION}.")
  settings = _read(file.parent / SETTINGS, SETTINGS_SHAPE)
  definition = _read(file.parent / DEFINITION, DEFINITION_SHAPE)
  make = _class_of(file, definition)
  check_settings(settings, file.parent / SETTINGS, make)
  for name, shape in (("special_tokens_map.json", SETTINGS_SHAPE), ("added_tokens.json", ADDED_SHAPE)):
    found = _read(file.parent / name, shape)
    if shape is SETTINGS_SHAPE:
      check_settings(found, file.parent / name, make)
    else:
      check_added(found, file.parent / name, make)
  if definition:
    _check_vocabulary(definition, file.parent / DEFINITION, make)
    lower = "Lowercase" in {step["type"] for step in normalizers(definition)}
    check_definition(definition, file.parent / DEFINITION, make, lowercase=lower)
  said = _lowercase(make, settings, definition, file.parent)
  content = _made_of(definition, file, make) if file.name == DEFINITION else read_bytes(file)
  tokenizer = make(content, str(file), said if lowercase is None else lowercase)
  added = ((token["id"], token["content"]) for token in definition.get("added_tokens") or ())
  check_added_ids(added, file.parent / DEFINITION, tokenizer)
  decoder = settings.get("added_tokens_decoder") or {}
  check_added_ids(((i, token["content"]) for i, token in decoder.items()), file.parent / SETTINGS, tokenizer)
  if file.name != DEFINITION and definition and _pieces(definition) != tokenizer.pieces(range(tokenizer.vocab_size)):
    raise InputError(
      f"{file} and {DEFINITION} beside it hold different pieces. Remove the one that is not the model's."
    )
  return tokenizer


def save_tokenizer(tokenizer: Tokenizer, folder: str, *, max_length: int | None = None) -> None:
  """Writes a folder that `load_folder` and transformers' `AutoTokenizer` read, in place of one that is there.

  Args:
    tokenizer: what to write.
    folder: appears whole or not at all.
    max_length: at which transformers truncates.
  """
  specials = dict(zip(SPECIALS, tokenizer.special_pieces))
  settings = {"do_lower_case": tokenizer.lowercase, "clean_up_tokenization_spaces": False, **specials}
  if max_length is not None:
    settings["model_max_length"] = max_length
  if tokenizer.kind == "wordpiece":
    settings |= {"tokenizer_class": "BertTokenizer", "tokenize_chinese_chars": True, "strip_accents": None}
  else:
    # transformers' AlbertTokenizer sets tokenizer.json aside for rules of its own, which drop other marks.
    settings |= {"tokenizer_class": "PreTrainedTokenizerFast", "keep_accents": not tokenizer.lowercase}
    settings |= {"bos_token": specials["cls_token"], "eos_token": specials["sep_token"]}
    settings["model_input_names"] = ["input_ids", "token_type_ids", "attention_mask"]  # else pairs lose their types
  backend = to_backend(tokenizer)
  with new_folder(os.fspath(folder), replace=True) as temporary:
    (temporary / _FILES[tokenizer.kind]).write_bytes(tokenizer.content)
    backend.save(str(temporary / DEFINITION))
    _write(temporary / SETTINGS, settings)
    _write(temporary / "special_tokens_map.json", specials)


def _vocabulary(folder: Path) -> Path | None:
  """The file to read the vocabulary from."""
  models = sorted(folder.glob("*.model"))
  for path in (*(folder / name for name in _FILES.values()), *models[:1], folder / DEFINITION):
    if path.exists():
      return path
  return None


def _class_of(file: Path, definition: Mapping[str, Any]) -> type[Tokenizer]:
  if file.name != DEFINITION:
    return WordPieceTokenizer if file.suffix == ".txt" else SentencePieceTokenizer
  vocabulary, kind = definition["model"]["vocab"], definition["model"].get("type")
  if isinstance(vocabulary, list) and kind in ("Unigram", None):
    return SentencePieceTokenizer
  if isinstance(vocabulary, dict) and kind in ("WordPiece", None):
    return WordPieceTokenizer
  raise InputError(f"{file}: a tokenizer of the kind {kind}; only WordPiece and Unigram can be read.")


def _check_vocabulary(definition: Mapping[str, Any], file: Path, make: type[Tokenizer]) -> None:
  vocabulary = definition["model"]["vocab"]
  if isinstance(vocabulary, dict) != (make is WordPieceTokenizer):
    raise InputError(f"{file} is not of the kind of the vocabulary beside it, {make.kind}.")
  if isinstance(vocabulary, dict):
    if sorted(vocabulary.values()) != list(range(len(vocabulary))):
      raise InputError(f"{file}: the ids of its pieces are not 0 … {len(vocabulary) - 1}, each once.")
    if broken := [piece for piece in vocabulary if not piece or "\n" in piece or piece != piece.rstrip("\r")]:
      raise InputError(f"{file}: {broken[0]!r} cannot be a piece.")
  for item in vocabulary if isinstance(vocabulary, list) else ():
    if len(item) != 2 or not isinstance(item[0], str) or not item[0] or isinstance(item[1], str):
      raise InputError(f"{file}: an entry of the vocabulary is {item!r}, not a piece and its score.")


def _lowercase(make: type[Tokenizer], settings: Mapping, definition: Mapping, folder: Path) -> bool | None:
  """Returns whether the files ask for lower case; None if they say nothing."""
  said: dict[str, set[bool]] = {}
  if settings.get("do_lower_case") is not None:
    lower = settings["do_lower_case"]
    strip = settings.get("strip_accents") if make is WordPieceTokenizer else not settings.get("keep_accents")
    said[SETTINGS] = {lower, lower if strip is None else strip}
  if definition:
    said[DEFINITION] = _lowercase_of(make, normalizers(definition))
  answers = set().union(*said.values())
  if len(answers) > 1:
    raise InputError(
      f"{folder}: {' and '.join(said)} ask to lower-case but not to strip accents, or the other way round, or they "
      "disagree; here the two go together."
    )
  return answers.pop() if answers else None


def _lowercase_of(make: type[Tokenizer], normalizers: list[Mapping[str, Any]]) -> set[bool]:
  kinds = {normalizer["type"] for normalizer in normalizers}
  if make is SentencePieceTokenizer:
    return {"Lowercase" in kinds, "NFKD" in kinds}
  lower, strip = False, None
  for normalizer in normalizers:
    lower, strip = normalizer.get("lowercase", lower), normalizer.get("strip_accents", strip)
  return {lower, lower if strip is None else strip}


def _pieces(definition: Mapping[str, Any]) -> list[str]:
  vocabulary = definition["model"]["vocab"]
  if isinstance(vocabulary, dict):
    return sorted(vocabulary, key=vocabulary.get)
  return [piece for piece, _ in vocabulary]


def _made_of(definition: Mapping[str, Any], file: Path, make: type[Tokenizer]) -> bytes:
  """The content of a vocabulary's own file, from `tokenizer.json`."""
  if make is WordPieceTokenizer:
    return "".join(f"{piece}\n" for piece in _pieces(definition)).encode()
  charsmaps = [n["precompiled_charsmap"] for n in normalizers(definition) if n["type"] == "Precompiled"]
  missing = {*make.special_pieces[:2]} - {*_pieces(definition)}
  if missing:
    raise InputError(f"{file}: the vocabulary lacks {', '.join(sorted(missing))}, and so is not an ALBERT's.")
  try:
    charsmap = base64.b64decode(charsmaps[0], validate=True) if charsmaps else b""
  except ValueError as error:
    raise InputError(f"{file}: precompiled_charsmap is damaged ({error}). Fetch it again.") from error
  return spm_proto.build(
    [(piece, _score(piece, score)) for piece, score in definition["model"]["vocab"]],
    make.special_pieces,
    charsmap=charsmap,
    byte_fallback=definition["model"].get("byte_fallback") or False,
  )


def _score(piece: str, score: float) -> float:
  """The score before converters took the penalty off, so that `SentencePieceTokenizer` can apply the rule itself."""
  return score + COMMA_PENALTY if ends_in_digit_comma(piece) and score < -COMMA_PENALTY else score


def _read(path: Path, shape: dict) -> dict[str, Any]:
  """The object in a file; empty if there is no such file."""
  return read_json(path, shape, hint="Fetch it again.") if path.exists() else {}


def _write(path: Path, value: Mapping[str, Any]) -> None:
  path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
