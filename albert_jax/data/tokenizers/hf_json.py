"""Turns a tokenizer of this package into one of the `tokenizers` library, whose file is `tokenizer.json`."""

import sys
import unicodedata

import tokenizers
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, processors

from albert_jax.data.tokenizers import spm_proto
from albert_jax.data.tokenizers.base import Tokenizer
from albert_jax.data.tokenizers.sentencepiece import SPACE
from albert_jax.data.tokenizers.wordpiece import make_backend
from albert_jax.errors import InputError

# What transformers' converters take off the score of "2008," and the like, so that years and commas are apart.
COMMA_PENALTY = 100.0


def to_backend(tokenizer: Tokenizer) -> tokenizers.Tokenizer:
  """A tokenizer of the library that gives the same ids, between [CLS] and [SEP].

  One difference stays: ALBERT's rule for a comma after a digit (see `tokenizers.sentencepiece`) is only
  approximated, by scores at which the pieces it splits are hardly ever chosen.

  Raises:
    InputError: a SentencePiece model of a kind that the library cannot follow.
  """
  backend = _wordpiece(tokenizer) if tokenizer.kind == "wordpiece" else _sentencepiece(tokenizer)
  _, _, cls, sep, mask = names = tokenizer.special_pieces
  # As before a word, the space before a mask belongs to it (to BERT's tokenizer spaces are nothing).
  backend.add_special_tokens([AddedToken(n, lstrip=n == mask, special=True, normalized=False) for n in names])
  backend.post_processor = processors.TemplateProcessing(
    single=f"{cls}:0 $A:0 {sep}:0",
    pair=f"{cls}:0 $A:0 {sep}:0 $B:1 {sep}:1",
    special_tokens=[(cls, tokenizer.cls_id), (sep, tokenizer.sep_id)],
  )
  return backend


def ends_in_digit_comma(piece: str) -> bool:
  """Whether ALBERT splits the comma off a piece."""
  return len(piece) > 1 and piece[-1] == "," and piece[-2].isdigit()


def _wordpiece(tokenizer: Tokenizer) -> tokenizers.Tokenizer:
  vocabulary = {piece: i for i, piece in enumerate(tokenizer.pieces(range(tokenizer.vocab_size)))}
  return make_backend(models.WordPiece(vocabulary, unk_token="[UNK]"), lowercase=tokenizer.lowercase)


def _sentencepiece(tokenizer: Tokenizer) -> tokenizers.Tokenizer:
  model = spm_proto.parse(tokenizer.content, tokenizer.path)
  spec = model.trainer_spec
  if spec.model_type != spm_proto.UNIGRAM or spec.treat_whitespace_as_suffix:
    raise InputError(f"{tokenizer.path}: only unigram models with spaces before words have a tokenizer.json.")
  unigram = models.Unigram(_scores(model), tokenizer.unk_id, byte_fallback=spec.byte_fallback)
  backend = tokenizers.Tokenizer(unigram)
  rules = model.normalizer_spec
  backend.normalizer = sentencepiece_normalizer(tokenizer.lowercase, rules.precompiled_charsmap)
  scheme = "first" if rules.add_dummy_prefix else "never"
  backend.pre_tokenizer = pre_tokenizers.Metaspace(replacement=SPACE, prepend_scheme=scheme)
  backend.decoder = decoders.Metaspace(replacement=SPACE, prepend_scheme=scheme)
  return backend


def _scores(model) -> list[tuple[str, float]]:
  return [(p.piece, p.score - COMMA_PENALTY * ends_in_digit_comma(p.piece)) for p in model.pieces]


def sentencepiece_normalizer(lowercase: bool, charsmap: bytes) -> normalizers.Normalizer:
  """Does what `sentencepiece.normalise` does, then what the model does itself by its rules, `charsmap`."""
  steps: list[normalizers.Normalizer] = [
    normalizers.Replace(Regex(f"[{_class_of(str.isspace)}]+"), " "),
    # The pre-tokenizer knows the start of a text by its first character: where that goes, a space must stand for it.
    normalizers.Replace(Regex(r"\A(``|'')"), ' "'),
    normalizers.Replace("``", '"'),
    normalizers.Replace("''", '"'),
  ]
  if lowercase:
    marks = _class_of(unicodedata.combining)
    steps += [
      normalizers.NFKD(),
      normalizers.Replace(Regex(rf"\A[{marks}]+"), " "),
      normalizers.Replace(Regex(f"[{marks}]"), ""),
      # Python's lower-casing knows the sigma that ends a word, the library's does not.
      normalizers.Replace(Regex(r"(?<=\p{Cased}\p{Case_Ignorable}*)Σ(?!\p{Case_Ignorable}*\p{Cased})"), "ς"),
      normalizers.Lowercase(),
    ]
  if charsmap:
    # The library applies the rules to single characters: what they would compose has to be composed before.
    steps += [normalizers.NFC(), normalizers.Precompiled(charsmap)]
  # Spaces before the text stand, for the pre-tokenizer to find; after it they are dropped.
  steps += [normalizers.Replace(Regex(" {2,}"), " "), normalizers.Strip(left=False, right=True)]
  return normalizers.Sequence(steps)


def _class_of(holds) -> str:
  """The characters for which a function holds, as ranges inside a regular expression's brackets."""
  ranges: list[list[int]] = []
  for code in range(sys.maxunicode + 1):
    if holds(chr(code)):
      if ranges and ranges[-1][1] == code - 1:
        ranges[-1][1] = code
      else:
        ranges.append([code, code])
  return "".join(rf"\x{{{first:x}}}-\x{{{last:x}}}" for first, last in ranges)
