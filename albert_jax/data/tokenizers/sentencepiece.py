"""ALBERT's tokenizer: its text normalisation and its rule for commas, around a SentencePiece model."""

import io
import re
import unicodedata
from collections.abc import Iterable, Sequence

import sentencepiece

from albert_jax.data.tokenizers.base import Span, Tokenizer
from albert_jax.errors import InputError

SPACE = "▁"
# Scripts that set no space between words, by the first word of their characters' Unicode names.
UNSPACED_SCRIPTS = frozenset(["CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN"])

# What `normalise` treats as one: white space, quotation marks, runs of ASCII that it leaves as they are, a character.
_UNITS = re.compile(r"\s+|``|''|[!-&(-_a-~]+|.", re.DOTALL)


def normalise(text: str, *, lowercase: bool = True) -> str:
  """Text as ALBERT's SentencePiece models expect it (google-research/albert, `tokenization.py`)."""
  text = " ".join(text.split()).replace("``", '"').replace("''", '"')
  if not lowercase:
    return text
  if not text.isascii():
    text = unicodedata.normalize("NFKD", text)
    for character in set(text):
      if unicodedata.combining(character):
        text = text.replace(character, "")
  return text.lower()


def normalise_with_spans(text: str, *, lowercase: bool = True) -> tuple[str, list[Span]]:
  """`normalise(text)`, and for each of its characters the part of `text` that it was made of."""
  characters, spans = [], []
  for match in _UNITS.finditer(text):
    unit, (start, end) = match.group(), match.span()
    if unit.isspace():
      unit = " " if start > 0 and end < len(text) else ""
    elif unit in ("``", "''"):
      unit = '"'
    elif unit.isascii():
      spans.extend((i, i + 1) for i in range(start, end))
      characters.append(unit)
      continue
    elif lowercase:
      unit = "".join(c for c in unicodedata.normalize("NFKD", unit) if not unicodedata.combining(c))
    spans.extend([(start, end)] * len(unit))
    characters.append(unit)
  normalised = "".join(characters)
  # Lower-casing looks at the neighbours ("ς" ends a word) and, once decomposed, changes no lengths.
  return normalised.lower() if lowercase else normalised, spans


class SentencePieceTokenizer(Tokenizer):
  """A SentencePiece model, with the ids that Google's ALBERT code gives.

  A piece that ends in a digit and a comma is encoded again without the comma, which follows as its own
  piece: "2008," is the year and a comma, as "2008." is.
  """

  kind = "sentencepiece"
  special_pieces = ("<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]")

  def __init__(self, content: bytes, path: str, lowercase: bool | None = None):
    super().__init__(content, path, lowercase)
    self._forged = set(self.special_ids) - {self.unk_id}
    self._comma_pieces = {
      piece: self._without_comma(piece)
      for piece in self._pieces
      if len(piece) > 1 and piece[-1] == "," and piece[-2].isdigit()
    }
    self._comma_ids = {self._id(piece): [self._id(p) for p in parts] for piece, parts in self._comma_pieces.items()}
    self._rewrites = frozenset(self._comma_ids) | self._forged
    self._specials = re.compile("|".join(map(re.escape, self.special_pieces)))

  def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
    """The ids of each text, without [CLS] and [SEP]; uses one core."""
    texts = [normalise(text, lowercase=self.lowercase) for text in texts]
    batch = self._model.encode(texts, num_threads=1)
    # Scanning for the few ids that are rewritten is much cheaper than building each list again.
    return [ids if self._rewrites.isdisjoint(ids) else self._rewrite(ids) for ids in batch]

  def decode(self, ids: Sequence[int]) -> str:
    """Readable text (normalised, as the model saw it); special pieces stay visible."""
    words, run = [], []
    for i in [*ids, None]:
      if i is not None and i not in self.special_ids:
        run.append(int(i))
        continue
      if run:
        space = " " if self._pieces[run[0]].startswith(SPACE) else ""
        words.append(space + self._model.decode(run))
        run = []
      if i is not None:
        words.append(" " + self._pieces[i])
    return "".join(words).strip()

  def _read_vocabulary(self) -> list[str]:
    self._model = sentencepiece.SentencePieceProcessor()
    try:
      self._model.LoadFromSerializedProto(self.content)
    except RuntimeError as e:
      raise InputError(
        f"{self.path}: not a SentencePiece model, or a damaged one. "
        "Fetch it again; a WordPiece vocabulary is named .txt."
      ) from e
    return self._model.id_to_piece(list(range(self._model.get_piece_size())))

  def _starts_word(self, piece: str) -> bool:
    # A byte of a character that is not in the vocabulary continues the word that the character is in.
    if self._model.is_byte(self._model.piece_to_id(piece)):
      return False
    if piece.startswith(SPACE) or unicodedata.category(piece[0])[0] in "PS":
      return True
    return any(unicodedata.name(c, "").split(" ")[0] in UNSPACED_SCRIPTS for c in piece)

  def _without_comma(self, piece: str) -> list[str]:
    rest = self._model.encode(piece[:-1].replace(SPACE, ""), out_type=str)
    if not piece.startswith(SPACE) and rest[0].startswith(SPACE):
      rest[0] = rest[0][1:]
    return [p for p in [*rest, ","] if p]

  def _id(self, piece: str) -> int:
    i = self._model.piece_to_id(piece)
    return self.unk_id if i in self._forged else i

  def _rewrite(self, ids: list[int]) -> list[int]:
    new = []
    for i in ids:
      # A special id can come from text only where a model defines it as a user's symbol.
      new.extend(self._comma_ids.get(i) or ([self.unk_id] if i in self._forged else [i]))
    return new

  def _encode_with_offsets(self, text: str) -> tuple[list[int], list[Span]]:
    clean, spans = normalise_with_spans(text, lowercase=self.lowercase)
    normalised, origins = self._model.Normalize(clean, with_offsets=True)  # the model has rules of its own
    characters = _character_spans(clean, origins, spans)
    parts = [p for piece in self._model.encode(clean, out_type=str) for p in self._comma_pieces.get(piece, [piece])]
    ids = [self._id(part) for part in parts]
    found, end = [], 0
    for i, part in zip(ids, parts):
      is_byte = self._model.is_byte(i)
      start = end - 1 if is_byte and part[3] in "89AB" else end  # UTF-8: 80 to BF goes on with a character
      end = start + (1 if is_byte else len(part))
      visible = [span for span, c in zip(characters[start:end], normalised[start:end]) if c != SPACE]
      found.append((visible[0][0], visible[-1][1]) if visible else (characters[start][0],) * 2)
    return ids, found

  def _encode_special(self, text: str) -> list[int]:
    ids, end = [], 0
    for match in [*self._specials.finditer(text), None]:
      part = text[end : match.start() if match else None]
      new = self.encode_batch([part])[0]
      # SentencePiece sets a space before every text; after "[MASK]" in "[MASK]." there is none.
      if end and new and not part[0].isspace():
        new = self._drop_space(new)
      ids += new
      if match:
        ids.append(self.special_ids[self.special_pieces.index(match.group())])
        end = match.end()
    return ids

  def _drop_space(self, ids: list[int]) -> list[int]:
    first = self._pieces[ids[0]].removeprefix(SPACE)
    return ([self._model.piece_to_id(first)] if first else []) + ids[1:]


def _character_spans(clean: str, origins: list[int], spans: list[Span]) -> list[Span]:
  """The spans of the characters that a model makes of `clean`.

  Args:
    clean: normalised text.
    origins: for each of the model's characters where in `clean` it starts, and the end of the last.
    spans: what each character of `clean` was made of.
  """
  found = []
  limit = following = origins[-1]
  for origin in reversed(origins[:-1]):
    if origin != following:
      limit, following = following, origin
    end = limit
    while end > origin + 1 and unicodedata.category(clean[end - 1]) in ("Cc", "Cf", "Zs"):
      end -= 1  # dropped by the model
    found.append((spans[origin][0], spans[end - 1][1]))
  return found[::-1]


def train_sentencepiece(lines: Iterable[str], vocab_size: int, *, lowercase: bool = True) -> bytes:
  """Trains a unigram model with ALBERT's settings and special ids 0-4; the same lines give the same model."""
  model = io.BytesIO()
  normalised = (line for raw in lines if (line := normalise(raw, lowercase=lowercase)))
  pad, unk, *control = SentencePieceTokenizer.special_pieces
  try:
    sentencepiece.SentencePieceTrainer.train(
      sentence_iterator=normalised,
      model_writer=model,
      model_type="unigram",
      vocab_size=vocab_size,
      pad_id=0,
      unk_id=1,
      bos_id=-1,
      eos_id=-1,
      pad_piece=pad,
      unk_piece=unk,
      control_symbols=control,
      user_defined_symbols=list('()"-.–£€'),
      max_sentence_length=1 << 16,
      num_threads=4,  # not the number of cores: sums over threads, and so the pieces, depend on it
      minloglevel=2,
    )
  except RuntimeError as e:
    if largest := re.search(r"value <= (\d+)", str(e)):
      hint = f"the text is too small for it; the largest possible size is {largest[1]}"
    elif smallest := re.search(r"\d+ vs (\d+)", str(e)):
      hint = f"the text's characters alone need more than {smallest[1]}"
    else:
      hint = f"{e}; is there text in the source?"
    raise InputError(f"Cannot train a SentencePiece vocabulary of {vocab_size} pieces: {hint}.") from e
  return model.getvalue()
