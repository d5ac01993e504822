import pickle
import shutil
import unicodedata

import numpy as np
import pytest
import sentencepiece

from albert_jax.data.tokenizers.registry import load_tokenizer, train_tokenizer
from albert_jax.data.tokenizers.sentencepiece import normalise
from albert_jax.errors import InputError

WORDS = """
  the of in and people city café naïve company price year served guest quickly coffee known well river mountain
  Привет мир город сегодня Καλημέρα κόσμε 今日は 世界 (well, mostly) "said" mostly-known
"""


def make_prose():
  """200 lines of words and numbers; the same few years come with commas, so that "2008," becomes a piece."""
  rng = np.random.default_rng(0)
  lines = []
  for _ in range(200):
    words = " ".join(rng.choice(WORDS.split()) + rng.choice(["", "", "s", "ing", "ed"]) for _ in range(8))
    lines.append(f"In {rng.integers(2000, 2010)}, {words} {rng.integers(1, 9)},{rng.integers(100, 999)} 3.5%.")
  return "\n".join(lines)


PROSE = make_prose()
NASTY = [
  "Ünïcödé ÀÉ ça İstanbul ß ς",
  "``quoted'' text",
  "ﬁne ² Ⅷ Å Ａ",
  "  a\u00a0b\u2003c\td\n e\u2028f  ",
  "中文字符 日本語のテキスト 한국어 ไทย",
  "emoji 🦊 👩‍👩‍👧 ok",
  "x\u0000y \u0007bell \u200bzero \ufeffmark \ufffd \u00adsoft",
  "a" * 150 + " long",
  "हिन्दी العربية Ёлка",
  "don't 3.5% e@x.com --- ?!",
  "\u0301combining \u0300",
  "[MASK] the[MASK]. [SEP][CLS]",
  "[PAD] [UNK]",
  "#tag ##ing",
  "",
  "  ",
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
  folder = tmp_path_factory.mktemp("tokenizers")
  return {
    "sentencepiece": train_tokenizer("sentencepiece", [PROSE], 250, str(folder / "a.model")),
    "wordpiece": train_tokenizer("wordpiece", [PROSE], 250, str(folder / "a.txt")),
  }


@pytest.fixture
def albert(trained):
  return trained["sentencepiece"]


@pytest.fixture
def bert(trained):
  return trained["wordpiece"]


def google_pieces(model, text):
  """ALBERT's published algorithm, over pieces and one text at a time."""
  text = " ".join(text.strip().split()).replace("``", '"').replace("''", '"')
  text = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c)).lower()
  result = []
  for piece in model.encode(text, out_type=str):
    if len(piece) > 1 and piece[-1] == "," and piece[-2].isdigit():
      parts = model.encode(piece[:-1].replace("▁", ""), out_type=str)
      if piece[0] != "▁" and parts[0][0] == "▁":
        parts[0] = parts[0][1:]
      result += [part for part in [*parts, ","] if part]
    else:
      result.append(piece)
  return result


def test_sentencepiece_follows_google(albert):
  model = sentencepiece.SentencePieceProcessor(model_file=albert.path)
  lines = [*PROSE.split("\n"), *NASTY, "2008,1,5 12,15,", "(2,009,)"]
  expected = [[model.piece_to_id(p) for p in google_pieces(model, line)] for line in lines]
  assert albert.encode_batch(lines) == expected
  assert [albert.encode(line) for line in lines] == expected


def test_comma_after_a_digit_is_its_own_piece(albert):
  commas = [p for p in albert.pieces(range(albert.vocab_size)) if p[-1:] == "," and p[-2:-1].isdigit()]
  assert commas, "the vocabulary must hold such pieces, or this tests nothing"
  pieces = albert.pieces(albert.encode("in 2008, 1,234 people paid 5, 10, 15,000"))
  assert not set(commas) & set(pieces)
  assert "".join(pieces) == "▁in▁2008,▁1,234▁people▁paid▁5,▁10,▁15,000"


@pytest.mark.parametrize(
  ("text", "expected"),
  [
    ("  A \t b\u00a0\u2003c\n", "a b c"),
    ("``Été'' ﬁx ²", '"ete" fix 2'),
    ("e\u0301 ё", "e е"),
    ("` ` ' '", "` ` ' '"),
  ],
)
def test_normalise(text, expected):
  assert normalise(text) == expected


def test_normalise_keeps_case_and_accents_for_a_cased_model():
  assert normalise(" ``Été ﬁx''  ²", lowercase=False) == '"Été ﬁx" ²'


@pytest.mark.parametrize("lowercase", [True, False])
def test_wordpiece_equals_transformers(tmp_path, bert, lowercase):
  import transformers  # slow to import

  pieces = bert.pieces(range(bert.vocab_size)) + ([] if lowercase else ["The", "##É"])
  (tmp_path / "vocab.txt").write_text("\n".join(pieces), encoding="utf-8")
  ours = load_tokenizer(str(tmp_path / "vocab.txt"))
  assert ours.lowercase == lowercase
  vocabulary = {piece: i for i, piece in enumerate(pieces)}
  theirs = transformers.BertTokenizer(vocab=vocabulary, do_lower_case=lowercase)
  for text in [*PROSE.split("\n"), *NASTY]:
    assert ours.encode(text, allow_special=True) == theirs.encode(text, add_special_tokens=False), text


@pytest.mark.parametrize("kind", ["sentencepiece", "wordpiece"])
class TestBoth:
  def test_special_ids(self, trained, kind):
    tokenizer = trained[kind]
    assert tokenizer.special_ids == (0, 1, 2, 3, 4)
    assert tokenizer.special_ids[1:] == (tokenizer.unk_id, tokenizer.cls_id, tokenizer.sep_id, tokenizer.mask_id)
    assert tokenizer.pieces([0, 1, 2, 3, 4]) == list(tokenizer.special_pieces)

  def test_text_cannot_forge_special_ids(self, trained, kind):
    tokenizer = trained[kind]
    forged = {tokenizer.pad_id, tokenizer.cls_id, tokenizer.sep_id, tokenizer.mask_id}
    text = " ".join(tokenizer.special_pieces) + " in[MASK]in"
    assert not forged & set(tokenizer.encode(text))
    assert not forged & set(tokenizer.encode_batch([text])[0])
    assert forged < set(tokenizer.encode(text, allow_special=True))

  def test_decode_gives_the_text_back(self, trained, kind):
    tokenizer = trained[kind]
    text = "the people of the city were served"
    assert tokenizer.decode(tokenizer.encode(text)) == text
    ids = tokenizer.encode("the [MASK] of the city", allow_special=True)
    assert tokenizer.decode([tokenizer.cls_id, *ids, tokenizer.sep_id]) == "[CLS] the [MASK] of the city [SEP]"
    assert tokenizer.decode(np.array(ids)) == "the [MASK] of the city"

  def test_pickles_without_its_file(self, trained, kind, tmp_path):
    tokenizer = trained[kind]
    path = tmp_path / tokenizer.path.rsplit("/")[-1]
    shutil.copy(tokenizer.path, path)
    data = pickle.dumps(load_tokenizer(str(path)))
    path.unlink()
    copy = pickle.loads(data)
    assert copy.encode_batch(PROSE.split("\n")) == tokenizer.encode_batch(PROSE.split("\n"))
    assert (copy.fingerprint, copy.path) == (tokenizer.fingerprint, str(path))
    np.testing.assert_array_equal(copy.word_starts, tokenizer.word_starts)

  def test_fingerprint_follows_content_and_case(self, trained, kind, tmp_path):
    tokenizer = trained[kind]
    cased = load_tokenizer(tokenizer.path, lowercase=False)
    assert cased.encode("CITY") != tokenizer.encode("CITY") == tokenizer.encode("city")
    assert len({tokenizer.fingerprint, cased.fingerprint, load_tokenizer(tokenizer.path).fingerprint}) == 2


def test_mask_between_words_reads_as_in_training(albert):
  mask = "[MASK]"
  pieces = albert.pieces(albert.encode("the [MASK], people", allow_special=True))
  assert pieces == [*albert.pieces(albert.encode("the")), mask, ",", *albert.pieces(albert.encode("people"))]


def test_sentencepiece_word_starts(tmp_path):
  pieces = ["▁in", "in", "-", "(a", "5", "город", "▁город", "世界", "の", "ไทย", "한", "a世", "'s", "+a", "<0xE2>"]
  expected = [True, False, True, True, False, False, True, True, True, True, False, True, True, True, False]
  tokenizer = load_tokenizer(write_model(tmp_path, pieces))
  ids = [tokenizer.pieces(range(tokenizer.vocab_size)).index(p) for p in pieces]
  assert [bool(tokenizer.word_starts[i]) for i in ids] == expected
  assert all(tokenizer.word_starts[i] for i in tokenizer.special_ids)


def test_user_defined_mask_cannot_be_forged(tmp_path):
  tokenizer = load_tokenizer(write_model(tmp_path, ["▁in", "In"], mask_is_symbol=True))
  assert not tokenizer.lowercase
  assert tokenizer.mask_id not in tokenizer.encode("in [MASK] in")
  assert tokenizer.unk_id in tokenizer.encode("in [MASK] in")
  assert tokenizer.mask_id in tokenizer.encode("in [MASK] in", allow_special=True)


def write_model(folder, symbols, mask_is_symbol=False):
  """A SentencePiece model that holds the given pieces, bytes included."""
  control = ["[CLS]", "[SEP]", *([] if mask_is_symbol else ["[MASK]"])]
  symbols = [s for s in symbols if not s.startswith("<0x")] + (["[MASK]"] if mask_is_symbol else [])
  sentencepiece.SentencePieceTrainer.train(
    sentence_iterator=iter(["in the city", "of people"]),
    model_prefix=str(folder / "m"),
    vocab_size=5 + 256 + len(symbols) + 20,
    hard_vocab_limit=False,
    pad_id=0,
    unk_id=1,
    bos_id=-1,
    eos_id=-1,
    control_symbols=control,
    user_defined_symbols=symbols,
    byte_fallback=True,
    minloglevel=2,
  )
  return str(folder / "m.model")


def test_wordpiece_word_starts(bert):
  pieces = bert.pieces(range(bert.vocab_size))
  assert bert.word_starts.tolist() == [not p.startswith("##") for p in pieces]
  assert 0 < bert.word_starts.sum() < bert.vocab_size


@pytest.mark.parametrize(
  ("name", "content", "message"),
  [
    ("a.json", b"{}", "is no tokenizer. Give a SentencePiece model"),
    ("a.model", b"damaged" * 10, r"a\.model: not a SentencePiece model"),
    ("a.model", b"", r"a\.model: not a SentencePiece model"),
    ("a.txt", b"[PAD]\n[UNK]\nword\n", r"a\.txt: the vocabulary lacks \[CLS\], \[SEP\], \[MASK\]"),
    ("a.txt", b"\xff\xfe", r"a\.txt: not a WordPiece vocabulary: not UTF-8 at byte 0"),
    ("a.txt", b"", r"a\.txt: the vocabulary lacks"),
    ("a.txt", b"[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nx\ny\nx\n", r"a\.txt: 'x' is there twice \(lines 6 and 8\)"),
    ("a.txt", b"[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n\nx\n", r"a\.txt: line 6 is empty"),
  ],
)
def test_bad_file(tmp_path, name, content, message):
  (tmp_path / name).write_bytes(content)
  with pytest.raises(InputError, match=message):
    load_tokenizer(str(tmp_path / name))


def test_missing_file(tmp_path):
  with pytest.raises(InputError, match=r"none\.model cannot be read: No such file"):
    load_tokenizer(str(tmp_path / "none.model"))


def test_sentencepiece_model_without_special_pieces(tmp_path):
  sentencepiece.SentencePieceTrainer.train(
    sentence_iterator=iter(["in the city"]), model_prefix=str(tmp_path / "m"), vocab_size=11, minloglevel=2
  )
  with pytest.raises(InputError, match=r"lacks <pad>, \[CLS\], \[SEP\], \[MASK\]"):
    load_tokenizer(str(tmp_path / "m.model"))
