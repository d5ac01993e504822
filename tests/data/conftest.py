import numpy as np
import pytest

from albert_jax.data.text.sources import open_source
from albert_jax.data.tokenizers.registry import load_tokenizer

WORDS = 300
SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


@pytest.fixture
def word_tokenizer(tmp_path):
  """A WordPiece vocabulary of whole words: `w0` is id 5, `w1` is id 6, …"""
  path = tmp_path / "words.txt"
  path.write_text("\n".join([*SPECIALS, *(f"w{i}" for i in range(WORDS))]) + "\n")
  return load_tokenizer(str(path))


@pytest.fixture
def word_source(tmp_path):
  """60 documents of random words in three files, one sentence a line."""
  rng = np.random.default_rng(0)
  folder = tmp_path / "text"
  folder.mkdir()
  for file in "abc":
    documents = []
    for _ in range(20):
      sentences = [rng.integers(WORDS, size=rng.integers(1, 12)) for _ in range(rng.integers(1, 40))]
      documents.append("\n".join(" ".join(f"w{i}" for i in sentence) for sentence in sentences))
    (folder / f"{file}.txt").write_text("\n\n".join(documents) + "\n")
  return open_source(f"files:{folder}/*.txt")
