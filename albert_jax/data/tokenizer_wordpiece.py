"""BERT's tokenizer: the `tokenizers` library around a vocabulary file."""

import os
from collections.abc import Sequence

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers

from albert_jax.data.tokenizer import Tokenizer
from albert_jax.errors import InputError

# The data pipeline is parallel by processes; threads inside each would fight for the same cores.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


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
      lines = self._content.decode("utf-8").split("\n")
    except UnicodeDecodeError as e:
      raise InputError(f"{self.path}: not a WordPiece vocabulary: not UTF-8 at byte {e.start}.") from e
    pieces = [line.removesuffix("\r") for line in lines]
    if pieces[-1] == "":
      pieces.pop()
    return pieces

  def _starts_word(self, piece: str) -> bool:
    return not piece.startswith("##")

  def _make_backend(self) -> tokenizers.Tokenizer:
    vocabulary = {piece: i for i, piece in enumerate(self._pieces)}
    backend = tokenizers.Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=self.lowercase)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    return backend

  def _encode_special(self, text: str) -> list[int]:
    return self._special.encode(text, add_special_tokens=False).ids
