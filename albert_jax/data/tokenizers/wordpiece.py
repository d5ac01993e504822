"""BERT's tokenizer: the `tokenizers` library around a vocabulary file."""

import collections
import os
from collections.abc import Iterable, Sequence

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

from albert_jax.data.tokenizers.base import Span, Tokenizer
from albert_jax.errors import InputError

# The data pipeline is parallel by processes; threads inside each would fight for the same cores.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

MAX_ALPHABET = 1000  # rarer characters are [UNK]


class WordPieceTokenizer(Tokenizer):
  """A WordPiece vocabulary (one piece a line), with the ids that BERT's own tokenizer gives."""

  kind = "wordpiece"
  special_pieces = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")

  def __init__(self, content: bytes, path: str, lowercase: bool | None = None):
    super().__init__(content, path, lowercase)
    self._plain = self._make_backend()
    self._special = self._make_backend()
    self._special.add_special_tokens(list(self.special_pieces))

  def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
    """The ids of each text, without [CLS] and [SEP]; uses one core."""
    return [e.ids for e in self._plain.encode_batch_fast(list(texts), add_special_tokens=False)]

  def decode(self, ids: Sequence[int]) -> str:
    """Readable text (normalised, as the model saw it); special pieces stay visible."""
    return self._plain.decode(list(map(int, ids)), skip_special_tokens=False)

  def _read_vocabulary(self) -> list[str]:
    try:
      lines = self.content.decode("utf-8").split("\n")
    except UnicodeDecodeError as e:
      raise InputError(f"{self.path}: not a WordPiece vocabulary: not UTF-8 at byte {e.start}.") from e
    pieces = [line.removesuffix("\r") for line in lines]
    if pieces[-1] == "":
      pieces.pop()
    first: dict[str, int] = {}
    for number, piece in enumerate(pieces, start=1):
      # Both would shift or merge ids that a model's table has a row for.
      if not piece:
        raise InputError(f"{self.path}: line {number} is empty. A vocabulary holds one piece a line.")
      if first.setdefault(piece, number) != number:
        raise InputError(f"{self.path}: {piece!r} is there twice (lines {first[piece]} and {number}).")
    return pieces

  def _starts_word(self, piece: str) -> bool:
    return not piece.startswith("##")

  def _make_backend(self) -> tokenizers.Tokenizer:
    vocabulary = {piece: i for i, piece in enumerate(self._pieces)}
    return make_backend(models.WordPiece(vocabulary, unk_token="[UNK]"), lowercase=self.lowercase)

  def _encode_with_offsets(self, text: str) -> tuple[list[int], list[Span]]:
    encoding = self._plain.encode(text, add_special_tokens=False)
    return encoding.ids, encoding.offsets

  def _encode_special(self, text: str) -> list[int]:
    return self._special.encode(text, add_special_tokens=False).ids


def train_wordpiece(lines: Iterable[str], vocab_size: int, *, lowercase: bool = True) -> bytes:
  """Trains a WordPiece vocabulary with special ids 0-4; the same lines give the same vocabulary."""
  specials = WordPieceTokenizer.special_pieces
  backend = make_backend(models.WordPiece(unk_token="[UNK]"), lowercase=lowercase)
  words = collections.Counter(word for line in lines for word in backend.normalizer.normalize_str(line).split())
  alphabet, continuing = _alphabets(words, backend.pre_tokenizer)
  smallest = len(specials) + len(alphabet) + len(continuing)
  if vocab_size < smallest:
    raise _size_error(vocab_size, f"the text's characters alone need {smallest}")
  trainer = trainers.WordPieceTrainer(
    vocab_size=vocab_size,
    min_frequency=2,
    limit_alphabet=len(alphabet),
    initial_alphabet=alphabet,
    # Left to itself, the trainer numbers the continuing characters in the order of a hash table, and ties between
    # merges go by these numbers: the vocabulary would change from run to run.
    special_tokens=[*specials, *("##" + c for c in continuing)],
    show_progress=False,
  )
  backend.train_from_iterator((" ".join([word] * n) for word, n in words.items()), trainer)
  vocabulary = backend.get_vocab()
  if len(vocabulary) < vocab_size:
    raise _size_error(vocab_size, f"the text is too small for it; the largest possible size is {len(vocabulary)}")
  return "".join(piece + "\n" for piece in sorted(vocabulary, key=vocabulary.get)).encode()


def _alphabets(words: dict[str, int], pre_tokenizer: pre_tokenizers.PreTokenizer) -> tuple[list[str], list[str]]:
  """The commonest characters, and those of them that occur inside words."""
  counts: collections.Counter[str] = collections.Counter()
  continuing: set[str] = set()
  for word, n in words.items():
    for part, _ in pre_tokenizer.pre_tokenize_str(word):
      counts.update(dict.fromkeys(part, n))
      continuing.update(part[1:])
  commonest = sorted(counts, key=lambda c: (-counts[c], c))[:MAX_ALPHABET]
  return sorted(commonest), sorted(continuing.intersection(commonest))


def _size_error(vocab_size: int, hint: str) -> InputError:
  return InputError(f"Cannot train a WordPiece vocabulary of {vocab_size} pieces: {hint}.")


def make_backend(model: models.WordPiece, *, lowercase: bool) -> tokenizers.Tokenizer:
  """BERT's way from text to words, around a vocabulary."""
  backend = tokenizers.Tokenizer(model)
  backend.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
  backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
  backend.decoder = decoders.WordPiece()
  return backend
