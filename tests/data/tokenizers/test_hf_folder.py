import json
import os
import shutil

import pytest
import transformers

from albert_jax.data.tokenizers import spm_proto
from albert_jax.data.tokenizers.hf_folder import has_tokenizer, load_folder, save_tokenizer
from albert_jax.data.tokenizers.registry import load_tokenizer, train_tokenizer
from albert_jax.errors import InputError

PROSE = """
In 2001, the people of the city were well served, mostly by the café (company) at the river: 3.5% of 1,200.
Привет мир, город сегодня. Καλημέρα κόσμε, ο δρόμος. 今日は 世界, 中文字符 日本語. 대한민국 서울 한국어 텍스트.
हिन्दी किताबें और ไทย การทดสอบ العربية عالم, naïve façade, price €5 or £3, a–b "said" well-known don't.
"""
WORDS = PROSE.split()
LINES = [" ".join(WORDS[(i * step) % len(WORDS)] + "sxyz"[i % 4] for i in range(9)) for step in range(1, 150)]
TEXTS = [
  *PROSE.split("\n"),
  *WORDS,
  "Ünïcödé ÀÉ ça İstanbul ß ς ΟΔΟΣ ΑΣ.Α ΣΑΣ",
  "``quoted'' text",
  "'' ",
  "\u0301combining \u0300",
  "ﬁne ² Ⅷ Å Ａ ½ ２００８ …",
  "  a\u00a0b\u2003c\td\n e\u2028f\x0bg\x85h  ",
  "emoji 🦊 👩‍👩‍👧 🇩🇪 ok",
  "x\u0000y \u0007bell \u200bzero \ufeffmark \ufffd \u00adsoft",
  "\u0007the",
  "e\u0301 \u1100\u1161 क्षि",
  "a" * 150 + " long",
  "don't 3.5% e@x.com --- ?! (£3) €",
  "#tag ##ing ▁ <pad",
  "the [MASK] of[MASK].",
  "[MASK], [CLS] [SEP]",
  "",
  "  ",
]
KINDS = ["sentencepiece", "wordpiece"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
  """A tokenizer of each kind, with and without lower-casing."""
  folder = tmp_path_factory.mktemp("trained")
  return {
    (kind, lowercase): train_tokenizer(
      kind,
      [PROSE, *LINES],
      330 if kind == "wordpiece" else 170,
      str(folder / f"{lowercase}{suffix}"),
      lowercase=lowercase,
    )
    for kind, suffix in (("sentencepiece", ".model"), ("wordpiece", ".txt"))
    for lowercase in (True, False)
  }


@pytest.fixture(params=KINDS)
def tokenizer(request, trained):
  return trained[request.param, True]


@pytest.fixture
def folder(tokenizer, tmp_path):
  save_tokenizer(tokenizer, str(tmp_path / "saved"))
  return tmp_path / "saved"


def ids_of(tokenizer, texts=TEXTS):
  return [tokenizer.encode(text, allow_special=True) for text in texts]


def set_json(file, **values) -> None:
  file.write_text(json.dumps(json.loads(file.read_text()) | values))


@pytest.mark.parametrize("lowercase", [True, False])
@pytest.mark.parametrize("kind", KINDS)
class TestSaved:
  def test_is_the_same_when_loaded(self, trained, kind, lowercase, tmp_path):
    tokenizer = trained[kind, lowercase]
    save_tokenizer(tokenizer, str(tmp_path / "saved"))
    loaded = load_tokenizer(str(tmp_path / "saved"))
    assert (loaded.fingerprint, loaded.lowercase) == (tokenizer.fingerprint, lowercase)

  def test_gives_the_same_ids_in_transformers(self, trained, kind, lowercase, tmp_path):
    tokenizer = trained[kind, lowercase]
    save_tokenizer(tokenizer, str(tmp_path / "saved"), max_length=77)
    theirs = transformers.AutoTokenizer.from_pretrained(str(tmp_path / "saved"))
    for text, ids in zip(TEXTS, ids_of(tokenizer)):
      assert theirs(text, add_special_tokens=False)["input_ids"] == ids, text
    assert theirs.model_max_length == 77
    names = ("pad", "unk", "cls", "sep", "mask")
    assert [getattr(theirs, f"{name}_token_id") for name in names] == list(tokenizer.special_ids)

  def test_lays_pairs_out_as_we_do(self, trained, kind, lowercase, tmp_path):
    tokenizer = trained[kind, lowercase]
    save_tokenizer(tokenizer, str(tmp_path / "saved"))
    pair = transformers.AutoTokenizer.from_pretrained(str(tmp_path / "saved"))("the city", "a river")
    a, b = tokenizer.encode_batch(["the city", "a river"])
    assert pair["input_ids"] == [tokenizer.cls_id, *a, tokenizer.sep_id, *b, tokenizer.sep_id]
    types = [0] * (len(a) + 2) + [1] * (len(b) + 1)
    assert pair.get("token_type_ids", types) == types

  def test_can_be_read_from_what_transformers_saves(self, trained, kind, lowercase, tmp_path):
    """Version 5 saves tokenizer.json alone: what the vocabulary's file held is made of it."""
    tokenizer = trained[kind, lowercase]
    save_tokenizer(tokenizer, str(tmp_path / "saved"))
    transformers.AutoTokenizer.from_pretrained(str(tmp_path / "saved")).save_pretrained(tmp_path / "theirs")
    assert not {"vocab.txt", "spiece.model"} & {*os.listdir(tmp_path / "theirs")}
    loaded = load_folder(str(tmp_path / "theirs"))
    assert ids_of(loaded) == ids_of(tokenizer)
    assert loaded.lowercase == lowercase
    # and again from a copy of the file alone, as prepared examples keep it
    shutil.copy(tmp_path / "theirs" / "tokenizer.json", tmp_path)
    copy = load_tokenizer(str(tmp_path / "tokenizer.json"), lowercase=lowercase)
    assert copy.fingerprint == loaded.fingerprint


def test_an_albert_tokenizer_of_transformers(trained, tmp_path):
  """Theirs keeps other marks than the original code, and "2008," whole; but the pieces are the same."""
  tokenizer = trained["sentencepiece", True]
  model = spm_proto.parse(tokenizer.content, tokenizer.path)
  vocabulary = [(piece.piece, piece.score) for piece in model.pieces]
  charsmap = model.normalizer_spec.precompiled_charsmap
  transformers.AlbertTokenizer(vocab=vocabulary, _spm_precompiled_charsmap=charsmap).save_pretrained(
    tmp_path / "theirs"
  )
  loaded = load_folder(str(tmp_path / "theirs"))
  assert loaded.special_ids == tokenizer.special_ids
  assert ids_of(loaded) == ids_of(tokenizer)


def test_saving_replaces(folder, trained):
  (folder / "old").write_text("")
  save_tokenizer(trained["wordpiece", False], str(folder))
  assert "old" not in os.listdir(folder)
  assert load_folder(str(folder)).fingerprint == trained["wordpiece", False].fingerprint


def test_has_tokenizer(folder, tmp_path):
  assert has_tokenizer(str(folder))
  (tmp_path / "empty").mkdir()
  assert not has_tokenizer(str(tmp_path / "empty"))
  with pytest.raises(InputError, match="has no tokenizer"):
    load_folder(str(tmp_path / "empty"))


@pytest.mark.parametrize(
  ("settings", "message"),
  [
    ({"tokenize_chinese_chars": False}, "tokenize_chinese_chars is False; only True"),
    ({"remove_space": False}, "remove_space is False"),
    ({"cls_token": "<s>"}, "cls_token is '<s>'"),
    ({"cls_token": {"content": "<s>"}}, "cls_token is '<s>'"),
    ({"do_lower_case": False}, "disagree"),
  ],
)
def test_settings_that_change_ids_are_refused(folder, settings, message):
  set_json(folder / "tokenizer_config.json", **settings)
  with pytest.raises(InputError, match=message):
    load_folder(str(folder))


@pytest.mark.parametrize(("kind", "setting"), [("wordpiece", "strip_accents"), ("sentencepiece", "keep_accents")])
def test_accents_go_with_case(trained, kind, setting, tmp_path):
  save_tokenizer(trained[kind, True], str(tmp_path / "saved"))
  set_json(tmp_path / "saved" / "tokenizer_config.json", **{setting: setting == "keep_accents"})
  with pytest.raises(InputError, match="strip accents"):
    load_folder(str(tmp_path / "saved"))


def test_added_tokens_are_refused(folder):
  (folder / "added_tokens.json").write_text('{"[NEW]": 400}')
  with pytest.raises(InputError, match=r"adds '\[NEW\]' to the vocabulary"):
    load_folder(str(folder))


def test_files_that_disagree_are_refused(folder, trained, tokenizer):
  shutil.copy(trained[tokenizer.kind, False].path, folder / os.path.basename(_vocabulary(folder)))
  with pytest.raises(InputError, match="different pieces"):
    load_folder(str(folder))


def _vocabulary(folder):
  return next(name for name in os.listdir(folder) if name in ("vocab.txt", "spiece.model"))


def test_another_kind_is_refused(tmp_path):
  (tmp_path / "tokenizer.json").write_text('{"model": {"type": "BPE", "vocab": {}, "merges": []}}')
  with pytest.raises(InputError, match="of the kind BPE"):
    load_folder(str(tmp_path))


@pytest.mark.parametrize("content", ["{", "[]"])
def test_damaged_json(folder, content):
  (folder / "tokenizer.json").write_text(content)
  with pytest.raises(InputError, match=r"tokenizer\.json (is not JSON|holds no JSON object)"):
    load_folder(str(folder))


def test_ids_with_a_gap_are_refused(tmp_path):
  (tmp_path / "tokenizer.json").write_text('{"model": {"type": "WordPiece", "vocab": {"[PAD]": 0, "[UNK]": 2}}}')
  with pytest.raises(InputError, match="are not 0 … 1, each once"):
    load_folder(str(tmp_path))


def test_vocabulary_alone(tokenizer, tmp_path):
  shutil.copy(tokenizer.path, tmp_path / ("vocab.txt" if tokenizer.kind == "wordpiece" else "any.model"))
  assert load_folder(str(tmp_path)).fingerprint == tokenizer.fingerprint
