import json
import os
import shutil

import numpy as np
import pytest
import transformers

from albert_jax.data.tokenizers import spm_proto
from albert_jax.data.tokenizers.hf_folder import has_tokenizer, load_folder, save_tokenizer
from albert_jax.data.tokenizers.registry import load_tokenizer, train_tokenizer
from albert_jax.errors import InputError
from tests.data.tokenizers.texts import LINES, PROSE, TEXTS

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
  with pytest.raises(InputError, match=r"tokenizer\.json is damaged"):
    load_folder(str(folder))


def test_ids_with_a_gap_are_refused(tmp_path):
  (tmp_path / "tokenizer.json").write_text('{"model": {"type": "WordPiece", "vocab": {"[PAD]": 0, "[UNK]": 2}}}')
  with pytest.raises(InputError, match="are not 0 … 1, each once"):
    load_folder(str(tmp_path))


def test_vocabulary_alone(tokenizer, tmp_path):
  shutil.copy(tokenizer.path, tmp_path / ("vocab.txt" if tokenizer.kind == "wordpiece" else "any.model"))
  assert load_folder(str(tmp_path)).fingerprint == tokenizer.fingerprint


def change(file, path, value):
  """Sets the node of a JSON file at a path."""
  content = place = json.loads(file.read_text())
  for key in path[:-1]:
    place = place[key]
  place[path[-1]] = value
  file.write_text(json.dumps(content))


SEQUENCE = {"type": "Sequence", "normalizers": [{"type": n} for n in ("NFD", "Lowercase", "StripAccents")]}


@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize(
  ("kind", "file", "path", "value", "message"),
  [
    ("wordpiece", "tokenizer.json", ["normalizer"], SEQUENCE, "normalizer is NFD, Lowercase, StripAccents"),
    ("wordpiece", "tokenizer.json", ["normalizer"], None, "normalizer is missing"),
    ("wordpiece", "tokenizer.json", ["pre_tokenizer"], {"type": "Whitespace"}, "pre_tokenizer is Whitespace"),
    ("wordpiece", "tokenizer.json", ["pre_tokenizer"], None, "pre_tokenizer is missing"),
    ("wordpiece", "tokenizer.json", ["model", "continuing_subword_prefix"], "@@", "continuing_subword_prefix is '@@'"),
    ("wordpiece", "tokenizer.json", ["model", "max_input_chars_per_word"], 5, "max_input_chars_per_word is 5"),
    ("wordpiece", "tokenizer.json", ["model", "unk_token"], "[MASK]", "unk_token is"),
    ("wordpiece", "tokenizer.json", ["normalizer", "clean_text"], False, "clean_text"),
    ("wordpiece", "tokenizer.json", ["added_tokens", 0, "id"], 7, r"\[PAD\] has the id 7"),
    ("wordpiece", "tokenizer_config.json", ["tokenizer_class"], "BertJapaneseTokenizer", "BertJapaneseTokenizer"),
    ("wordpiece", "tokenizer_config.json", ["added_tokens_decoder"], {"9": {"content": "[E1]"}}, r"adds '\[E1\]'"),
    ("wordpiece", "tokenizer_config.json", ["additional_special_tokens"], ["[E1]"], r"adds '\[E1\]'"),
    ("wordpiece", "tokenizer_config.json", ["never_split"], ["x"], "never_split"),
    ("wordpiece", "special_tokens_map.json", ["cls_token"], "<s>", "cls_token is '<s>'"),
    ("sentencepiece", "tokenizer.json", ["normalizer"], SEQUENCE, "normalizer has the step .*NFD"),
    ("sentencepiece", "tokenizer.json", ["normalizer", "normalizers", 1, "type"], "Nmt", "normalizer has the step"),
    ("sentencepiece", "tokenizer.json", ["pre_tokenizer"], {"type": "Whitespace"}, "pre_tokenizer is Whitespace"),
    ("sentencepiece", "tokenizer.json", ["pre_tokenizer", "replacement"], "_", "replacement"),
    ("sentencepiece", "tokenizer.json", ["pre_tokenizer", "prepend_scheme"], "never", "prepend_scheme"),
    ("sentencepiece", "tokenizer.json", ["model", "unk_id"], 3, "unk_id is 3"),
    ("sentencepiece", "tokenizer_config.json", ["tokenizer_class"], "XLNetTokenizer", "XLNetTokenizer"),
  ],
)
def test_rules_that_would_give_other_ids_are_refused_by_name(
  trained, tmp_path, alone, kind, file, path, value, message
):
  """With the vocabulary's own file beside it, and without."""
  save_tokenizer(trained[kind, True], str(tmp_path / "saved"))
  change(tmp_path / "saved" / file, path, value)
  if alone:
    (tmp_path / "saved" / _vocabulary(tmp_path / "saved")).unlink()
  with pytest.raises(InputError, match=message):
    load_folder(str(tmp_path / "saved"))


def test_a_folder_that_another_python_wrote(trained, tmp_path):
  """Its version of Unicode may know marks that this one does not, but no others of the old ones."""
  save_tokenizer(trained["sentencepiece", True], str(tmp_path / "saved"))
  path = tmp_path / "saved" / "tokenizer.json"
  text = path.read_text()
  assert r"[\\x{300}-" in text
  path.write_text(text.replace(r"[\\x{300}-", r"[\\x{e0080}-\\x{e0085}\\x{300}-"))
  load_folder(str(tmp_path / "saved"))
  path.write_text(text.replace(r"[\\x{300}-", r"[\\x{301}-"))
  with pytest.raises(InputError, match="normalizer has the step"):
    load_folder(str(tmp_path / "saved"))


STRANGE = (None, True, -1, 2**70, 1.5, float("nan"), "x", "", [], ["x"], [[]], {}, {"x": 1}, "\ud800")


def nodes(value, path=()):
  """The path of every node of a JSON value but the whole."""
  for key, item in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
    yield (*path, key)
    yield from nodes(item, (*path, key))


@pytest.mark.parametrize(
  ("name", "alone"), [("tokenizer.json", True), ("tokenizer_config.json", False), ("special_tokens_map.json", False)]
)
def test_no_change_of_a_file_ends_in_a_traceback(folder, tokenizer, name, alone):
  if alone:
    (folder / _vocabulary(folder)).unlink()
  text = (folder / name).read_text()
  paths = [*nodes(json.loads(text))]
  random = np.random.default_rng(0)
  few = [path for path in paths if path[:2] != ("model", "vocab") or random.random() < 0.01]
  texts, expected = TEXTS[:12], ids_of(tokenizer, TEXTS[:12])
  refused = 0
  for path in few:
    for strange in (STRANGE[i] for i in random.choice(len(STRANGE), 3, replace=False)):
      (folder / name).write_text(text)
      change(folder / name, path, strange)
      try:
        found = load_folder(str(folder))
      except InputError:
        refused += 1
      else:
        assert path[:2] == ("model", "vocab") or ids_of(found, texts) == expected, (path, strange)
  assert refused > len(few) // 2
