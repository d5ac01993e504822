"""Folders with small random models of transformers, and those models."""

import functools

import pytest
import torch
import transformers

import albert_jax
from albert_jax.data.tokenizers.hf_folder import save_tokenizer
from albert_jax.data.tokenizers.registry import load_tokenizer, train_tokenizer

TEXT = "the a garden harbour library market station theatre anna bell sees helps finds in of is big small town"
WORDS = TEXT.split()
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, *".,?", *(f"##{c}" for c in "sedxyz"), *"sedxyz"]
SHAPE = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32)
POSITIONS = 72


@pytest.fixture(scope="session")
def wordpiece(tmp_path_factory):
  path = tmp_path_factory.mktemp("wordpiece") / "vocab.txt"
  path.write_text("".join(f"{piece}\n" for piece in PIECES))
  return load_tokenizer(str(path))


@pytest.fixture(scope="session")
def sentencepiece(tmp_path_factory):
  texts = [f"{a} {b} sees the {c}, in the town of {b}." for a in WORDS for b in WORDS for c in ("market", "garden")]
  return train_tokenizer("sentencepiece", texts, 45, str(tmp_path_factory.mktemp("sentencepiece") / "s.model"))


@pytest.fixture(scope="session")
def make_folder(tmp_path_factory, wordpiece, sentencepiece):
  """Function of the name of a transformers class: (folder, model); each is made once."""
  made = {}

  def make(name: str, **fields):
    key = (name, str(fields))
    if key not in made:
      family = name.partition("For")[0].removesuffix("Model")
      tokenizer = wordpiece if family == "Bert" else sentencepiece
      config = getattr(transformers, f"{family}Config")(
        vocab_size=tokenizer.vocab_size + 3, max_position_embeddings=POSITIONS, **SHAPE, **fields
      )
      if family == "Albert":
        config.embedding_size = 8
      torch.manual_seed(0)
      model = getattr(transformers, name)(config).eval()
      with torch.no_grad():  # far from their first values, so that predictions differ
        for parameter in model.parameters():
          parameter.add_(0.3 * torch.randn(parameter.shape))
      folder = str(tmp_path_factory.mktemp(name))
      save_tokenizer(tokenizer, folder)
      model.save_pretrained(folder)
      made[key] = folder, model
    return made[key]

  return make


@pytest.fixture(scope="session")
def load(make_folder):
  """Function of the name of a transformers class: the model of ours, loaded once; not to be changed."""
  return functools.cache(lambda name: albert_jax.load(make_folder(name)[0]))
