from pathlib import Path

import numpy as np
import pytest

import albert_jax
from albert_jax.errors import InputError
from albert_jax.interop.pretrained import open_pretrained

TEXTS = ["anna sees the market.", "the small town of bell"]


@pytest.fixture
def folder(make_folder, hub):
  folder, _ = make_folder("BertForMaskedLM")
  files = {path.name: path.read_bytes() for path in Path(folder).iterdir()}
  inner = {f"inner/{name}": content for name, content in files.items()}
  hub.commits["models/owner/model"] = [{**files, **inner, "pytorch_model.bin": b"pickle", "x.py": b""}]
  return folder


@pytest.mark.parametrize("address", ["hub:owner/model", "hub:owner/model@main/inner"])
def test_a_model_is_read_from_the_hub(folder, hub, address):
  found = albert_jax.load(address)
  np.testing.assert_array_equal(found.encode(TEXTS), albert_jax.load(folder).encode(TEXTS))
  assert found.fill_mask("anna [MASK] the market.")
  assert not any(path.endswith((".bin", ".py")) for _, path, _ in hub.requests)
  asked = len(hub.requests)
  again = open_pretrained(address.replace("@main", "").replace("model", f"model@{hub.commit_id('models/owner/model')}"))
  assert again.path == found._path
  assert len(hub.requests) == asked  # the folder in the cache is read as it lies


def test_a_model_without_safetensors(folder, hub):
  del hub.commits["models/owner/model"][0]["model.safetensors"]
  with pytest.raises(InputError, match=r"has no model\.safetensors"):
    albert_jax.load("hub:owner/model")
