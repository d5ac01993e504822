import os
import subprocess
import sys

import numpy as np
import pytest

from albert_jax.data.text.sources import open_source
from albert_jax.data.tokenizers import registry as module
from albert_jax.data.tokenizers.registry import load_tokenizer, resolve_tokenizer, sample_texts, train_tokenizer
from albert_jax.errors import InputError
from tests.builders import ROOT

KINDS = {"sentencepiece": ".model", "wordpiece": ".txt"}


def make_texts(lines=300):
  """Documents of made-up words, ten lines each."""
  rng = np.random.default_rng(0)
  syllables = [a + b for a in "bdfklmnprst" for b in "aeiou"]
  words = ["".join(rng.choice(syllables, size=rng.integers(1, 5))) for _ in range(400)]
  line = [" ".join(rng.choice(words, size=12)) + "." for _ in range(lines)]
  return ["\n".join(line[i : i + 10]) for i in range(0, lines, 10)]


@pytest.fixture
def source(tmp_path):
  folder = tmp_path / "text"
  folder.mkdir()
  for name in "abc":
    (folder / f"{name}.txt").write_text("\n\n".join(make_texts()))
  return open_source(f"files:{folder}/*.txt")


@pytest.mark.parametrize("kind", KINDS)
def test_size_is_exact_and_the_file_loads(tmp_path, kind):
  path = str(tmp_path / "new" / ("a" + KINDS[kind]))
  trained = train_tokenizer(kind, make_texts(), 150, path)
  assert (trained.kind, trained.vocab_size, trained.special_ids) == (kind, 150, (0, 1, 2, 3, 4))
  assert load_tokenizer(path).fingerprint == trained.fingerprint
  assert os.listdir(tmp_path / "new") == ["a" + KINDS[kind]]


TRAIN = """
import sys
from albert_jax.data.tokenizers.registry import train_tokenizer
print(train_tokenizer(sys.argv[1], open(sys.argv[2]), 220, sys.argv[3]).fingerprint)
"""


@pytest.mark.parametrize("kind", KINDS)
def test_other_processes_train_the_same(tmp_path, kind):
  # In processes of their own: hash tables are seeded once a process.
  (tmp_path / "a.txt").write_text("\n".join(make_texts()))
  command = [sys.executable, "-c", TRAIN, kind, tmp_path / "a.txt", tmp_path / ("b" + KINDS[kind])]
  fingerprints = {subprocess.run(command, check=True, capture_output=True).stdout for _ in range(3)}
  assert len(fingerprints) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_too_small_a_text_names_the_largest_size(tmp_path, kind):
  path = str(tmp_path / ("a" + KINDS[kind]))
  with pytest.raises(InputError, match=r"too small for it; the largest possible size is \d+") as error:
    train_tokenizer(kind, make_texts(20), 5000, path)
  assert not os.listdir(tmp_path)
  largest = int(str(error.value).removesuffix(".").split()[-1])
  assert train_tokenizer(kind, make_texts(20), largest, path).vocab_size == largest


@pytest.mark.parametrize("kind", KINDS)
def test_too_small_a_size(tmp_path, kind):
  with pytest.raises(InputError, match=r"characters alone need (more than )?\d+"):
    train_tokenizer(kind, make_texts(), 8, str(tmp_path / ("a" + KINDS[kind])))


@pytest.mark.parametrize("kind", KINDS)
def test_case_and_accents(tmp_path, kind):
  texts = [text.replace("ba", "BÉ") for text in make_texts()]
  path = str(tmp_path / ("a" + KINDS[kind]))
  assert not any("É" in p or "B" in p for p in all_pieces(train_tokenizer(kind, texts, 150, path)))
  cased = train_tokenizer(kind, texts, 150, path, lowercase=False)
  assert any("BÉ" in p for p in all_pieces(cased))
  assert load_tokenizer(path).lowercase is False


def all_pieces(tokenizer):
  return tokenizer.pieces(range(5, tokenizer.vocab_size))


def test_no_text(tmp_path):
  with pytest.raises(InputError, match="Cannot train a SentencePiece vocabulary of 100 pieces"):
    train_tokenizer("sentencepiece", ["", " "], 100, str(tmp_path / "a.model"))


@pytest.mark.parametrize("kind", KINDS)
def test_resolve_trains_once_for_each_text_and_size(tmp_path, source, kind, monkeypatch):
  cache = str(tmp_path / "cache")
  first = resolve_tokenizer(f"train:{kind}:150", source, cache)
  other = resolve_tokenizer(f"train:{kind}:151", source, cache)
  assert len(os.listdir(cache)) == 2
  monkeypatch.setattr(module, "train_tokenizer", None)
  again = resolve_tokenizer(f"train:{kind}:150", source, cache)
  assert (again.fingerprint, again.path) == (first.fingerprint, first.path)
  assert other.vocab_size == 151
  assert resolve_tokenizer(first.path, source, cache).fingerprint == first.fingerprint


def test_resolve_trains_anew_for_other_text(tmp_path, source):
  cache = str(tmp_path / "cache")
  resolve_tokenizer("train:wordpiece:150", source, cache)
  resolve_tokenizer("train:wordpiece:150", open_source(source.spec.replace("*", "a")), cache)
  assert len(os.listdir(cache)) == 2


@pytest.mark.parametrize(
  ("spec", "message"),
  [
    ("train:bpe:100", 'Unknown kind of tokenizer "bpe". Known: sentencepiece, wordpiece'),
    ("train:wordpiece", "the form is train:KIND:SIZE"),
    ("train:wordpiece:4k", "the form is train:KIND:SIZE"),
    ("no.model", "cannot be read"),
  ],
)
def test_bad_spec(tmp_path, source, spec, message):
  with pytest.raises(InputError, match=message):
    resolve_tokenizer(spec, source, str(tmp_path))


def test_wrong_suffix(tmp_path):
  with pytest.raises(InputError, match=r"a\.bin' should end in \.model"):
    train_tokenizer("sentencepiece", make_texts(), 100, str(tmp_path / "a.bin"))


def test_sample_takes_a_share_of_every_shard(source):
  size = len(make_texts()[0])
  everything = [text for _, text in source.documents()]
  assert list(sample_texts(source, 10**9)) == everything
  third = len(everything) // 3
  few = list(sample_texts(source, 6 * size))
  assert {everything[0], everything[third], everything[2 * third]} <= set(few)
  assert 6 * size * 0.8 < sum(map(len, few)) < 6 * size * 1.5


def run_script(*flags):
  command = [sys.executable, "scripts/train_tokenizer.py", *flags]
  return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_script(source, tmp_path):
  result = run_script(f"--source={source.spec}", "--vocab_size=150", f"--output={tmp_path}/a.model")
  assert (result.returncode, result.stderr) == (0, "")
  assert result.stdout.startswith(f"{tmp_path}/a.model: 150 pieces, sentencepiece")
  assert load_tokenizer(f"{tmp_path}/a.model").vocab_size == 150


def test_script_prints_errors_plainly(source, tmp_path):
  result = run_script(f"--source={source.spec}", "--vocab_size=90000", f"--output={tmp_path}/a.model")
  assert result.returncode == 2
  assert result.stderr.startswith("error: Cannot train a SentencePiece vocabulary of 90000 pieces")
  assert result.stderr.count("\n") == 1
