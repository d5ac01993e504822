import collections

import ml_collections
import pytest

from albert_jax.data.examples import prepare as prepare_module
from albert_jax.data.examples import writer
from albert_jax.data.examples.chunks import ExampleSettings
from albert_jax.data.examples.prepare import prepare, prepare_from_config
from albert_jax.data.text.files import FilesSource
from albert_jax.errors import InputError

SETTINGS = ExampleSettings(max_length=32, layout="sentences", valid_fraction=0.1)


def test_text_that_changes_meanwhile_is_noticed(tmp_path, word_source, word_tokenizer, monkeypatch):
  def write(source, *rest, **options):
    splits = writer.write_examples(source, *rest, **options)
    with open(tmp_path / "text" / "a.txt", "a") as file:
      file.write("\nw1 w2 w3\n")
    return splits

  monkeypatch.setattr(prepare_module, "write_examples", write)
  with pytest.raises(InputError, match=r"text/\*\.txt changed"):
    prepare(word_source, word_tokenizer, SETTINGS, tmp_path / "cache")
  assert not [*(tmp_path / "cache").rglob("metadata.json")]


def test_the_text_is_read_twice_at_most(tmp_path, word_source, word_tokenizer, monkeypatch):
  """Once its head, for all who only look, and once the whole."""
  reads = collections.Counter()
  read = FilesSource.read

  def count(self, shard):
    reads[shard] += 1
    yield from read(self, shard)

  monkeypatch.setattr(FilesSource, "read", count)
  data = dict(
    source=word_source.spec, text_key="text", tokenizer="train:wordpiece:30", cache_dir=str(tmp_path / "cache")
  )
  data |= dict(max_length=32, short_seq_prob=0.1, layout="auto", valid_fraction=1e-9, holdout_seed=0)
  config = ml_collections.ConfigDict(data)
  directory, _ = prepare_from_config(config, processes=1)
  assert set(reads.values()) == {2}
  reads.clear()
  assert prepare_from_config(config)[0] == directory
  assert reads == {"a.txt": 1}  # whether there is text
