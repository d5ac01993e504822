"""Offsets of ids in the original text, whatever normalising does to it."""

import random
import unicodedata

import pytest
import sentencepiece

from albert_jax.data.tokenizers.registry import load_tokenizer, train_tokenizer
from albert_jax.data.tokenizers.sentencepiece import normalise, normalise_with_spans

WORDS = """
  the of city café naïve price year well-known quickly “river” ﬁne — ½ 中文 Привет κόσμε (mostly)
"""


def make_prose() -> str:
  """Lines with years that often come with a comma, so that "2008," becomes a piece."""
  generator = random.Random(0)
  lines = []
  for _ in range(150):
    words = " ".join(generator.choice(WORDS.split()) + generator.choice(["", "", "s", "ing"]) for _ in range(8))
    lines.append(
      f"In {generator.randrange(2000, 2010)}, {words} {generator.randrange(9)},{generator.randrange(100, 999)}."
    )
  return "\n".join(lines)


PROSE = make_prose()
NASTY = [
  "İstanbul ΣΑΣ Σ ẞ ǅ",
  "caf\u0065\u0301 naïve \u0301x y\u0300\u0301\u0302z",
  "ﬁne ²Ⅷ ½ … Ａ ㈱ ﷺ",
  "``quoted'' '''three' ` '",
  "  a\u00a0b\u2003c\td\n e\u2028f  ",
  "x\u0000y\u0007z \u200bzero \ufeffmark \u00adsoft l\u200er",
  "中文字符 日本語ﾊﾟ 한국어 \u1112\u1161\u11ab ไทย हिन्दी",
  "emoji 🦊 👩‍👩‍👧 ok",
  "2008,1,5 (2,009,) in 2008, paid 15,000,",
  "a´b ¨ c" + "a" * 120,
  "[MASK] the[CLS] <unk> <pad> <0xE4> ▁x",
  "",
  " \u200b",
]
ALPHABET = [
  *"abé5, .,'`\"-(ΣİıßﬁŒ½²…´¨中한ไ🦊\u0301\u0323\u200b\u200d\u0007\u00a0\u2003\t\n▁﷼ﾊﾟक्ष",
  "''",
  "``",
  "in 2008, ",
  "the ",
]


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory):
  """Both kinds, with and without case, and a model that spells unknown characters as bytes."""
  folder = tmp_path_factory.mktemp("tokenizers")
  paths = [str(folder / "a.model"), str(folder / "a.txt")]
  for kind, path in zip(("sentencepiece", "wordpiece"), paths):
    train_tokenizer(kind, [PROSE], 190, path)
  made = [load_tokenizer(path, lowercase=lowercase) for path in paths for lowercase in (True, False)]
  sentencepiece.SentencePieceTrainer.train(
    sentence_iterator=iter(["in the city", "of people"]),
    model_prefix=str(folder / "bytes"),
    vocab_size=284,
    hard_vocab_limit=False,
    pad_id=0,
    unk_id=1,
    bos_id=-1,
    eos_id=-1,
    control_symbols=["[CLS]", "[SEP]"],
    user_defined_symbols=["[MASK]", "("],
    byte_fallback=True,
    minloglevel=2,
  )
  return [*made, load_tokenizer(str(folder / "bytes.model"))]


def random_texts(number: int) -> list[str]:
  """Half of characters that are known to make trouble, half of alphabets and emoji."""
  generator = random.Random(0)
  everything = [*map(chr, [*range(0x3000), *range(0x1F300, 0x1FA00)])]
  return ["".join(generator.choices((ALPHABET, everything)[i % 2], k=generator.randrange(25))) for i in range(number)]


def is_visible(character: str) -> bool:
  """Letters, numbers, punctuation and symbols, but for marks without a letter (normalised to spaces) and "▁"."""
  is_mark = any(map(unicodedata.combining, unicodedata.normalize("NFKD", character)))
  category = unicodedata.category(character)
  return category[0] in "LNPS" and not (is_mark and category in ("Sk", "Lm")) and character != "▁"


@pytest.mark.parametrize("lowercase", [True, False])
def test_spans_of_normalising(lowercase):
  for text in [*NASTY, *random_texts(1000), *PROSE.split("\n")]:
    normalised, spans = normalise_with_spans(text, lowercase=lowercase)
    assert normalised == normalise(text, lowercase=lowercase), repr(text)
    assert len(normalised) == len(spans), repr(text)
    for character, (start, end) in zip(normalised, spans):
      around = normalise(f"a{text[start:end]}a", lowercase=lowercase)
      assert character in around.replace("σ", "σς"), (text, character, start, end)  # ς only at the end of a word


def test_offsets_on_any_text(tokenizers):
  texts = [*NASTY, *random_texts(300), *PROSE.split("\n")[:20]]
  for tokenizer in tokenizers:
    for text in texts:
      ids, spans = tokenizer.encode_with_offsets(text)
      context = (tokenizer.path, repr(text), list(zip(tokenizer.pieces(ids), spans)))
      assert ids == tokenizer.encode(text), context
      assert len(ids) == len(spans), context
      assert all(0 <= start <= end <= len(text) for start, end in spans), context
      starts, ends = [start for start, _ in spans], [end for start, end in spans if end > start]
      assert (starts, ends) == (sorted(starts), sorted(ends)), context
      assert not any(text[start].isspace() or text[end - 1].isspace() for start, end in spans if start < end), context
      covered = {i for start, end in spans for i in range(start, end)}
      assert {i for i, c in enumerate(text) if is_visible(c)} <= covered, context


def test_offsets_show_the_original_text(tokenizers):
  text = "IN 2008, ``Cafe\u0301''  ½ ﬁ"
  shown = {}
  for tokenizer in tokenizers[0], tokenizers[2]:
    ids, spans = tokenizer.encode_with_offsets(text)
    shown[tokenizer.kind] = [(piece, text[start:end]) for piece, (start, end) in zip(tokenizer.pieces(ids), spans)]
  albert, bert = shown["sentencepiece"], shown["wordpiece"]
  assert albert[:5] == [("▁", ""), ("in", "IN"), ("▁200", "200"), ("8", "8"), (",", ",")]
  assert albert[5:12] == [("▁", ""), ('"', "``"), ("c", "C"), ("a", "a"), ("f", "f"), ("e", "e\u0301"), ('"', "''")]
  assert albert[12:] == [("▁1⁄2", "½"), ("▁", ""), ("f", "ﬁ"), ("i", "ﬁ")]
  assert bert[:5] == [("in", "IN"), ("2008", "2008"), (",", ","), ("[UNK]", "`"), ("[UNK]", "`")]
  assert bert[5:] == [("cafe", "Cafe\u0301"), ("[UNK]", "'"), ("[UNK]", "'"), ("½", "½"), ("ﬁ", "ﬁ")]
