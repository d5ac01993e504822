import json
import pickle
import shutil

import numpy as np
import pytest

from albert_jax.data.examples import writer
from albert_jax.data.examples.chunks import ExampleSettings
from albert_jax.data.examples.prepare import prepare
from albert_jax.data.examples.reader import open_examples, open_tokenizer
from albert_jax.errors import InputError


@pytest.fixture
def directory(tmp_path, word_source, word_tokenizer, monkeypatch):
  monkeypatch.setattr(writer, "SHARD_BYTES", 4000)
  return prepare(word_source, word_tokenizer, ExampleSettings(max_length=32), tmp_path / "cache")


def drop_checksums(directory):
  path = directory / "metadata.json"
  metadata = json.loads(path.read_text())
  del metadata["files"], metadata["checksum"]
  path.write_text(json.dumps(metadata))


def shard(directory, number=0):
  return sorted(directory.glob("*-train.*"))[number]


def test_examples_come_in_the_order_asked_across_shards_and_with_repeats(directory):
  examples = open_examples(directory, "train")
  everything = examples.get(np.arange(len(examples)))
  token_ends, sentence_ends = np.cumsum(everything.lengths), np.cumsum(everything.sentences)
  indices = np.random.default_rng(0).integers(len(examples), size=200)
  batch = examples.get(indices)
  np.testing.assert_array_equal(batch.lengths, everything.lengths[indices])
  np.testing.assert_array_equal(batch.document, everything.document[indices])
  tokens = [everything.tokens[token_ends[i] - everything.lengths[i] : token_ends[i]] for i in indices]
  np.testing.assert_array_equal(batch.tokens, np.concatenate(tokens))
  lengths = [
    everything.sentence_lengths[sentence_ends[i] - everything.sentences[i] : sentence_ends[i]] for i in indices
  ]
  np.testing.assert_array_equal(batch.sentence_lengths, np.concatenate(lengths))


def test_types_are_those_promised(directory):
  batch = open_examples(directory, "valid").get([0])
  types = {name: value.dtype.name for name, value in vars(batch).items()}
  assert types.pop("document") == "uint64"
  assert set(types.values()) == {"int32"}
  assert open_examples(directory, "valid").lengths.dtype == np.int32
  assert open_examples(directory, "valid").unigram_counts.dtype == np.int64


def test_no_indices_give_an_empty_batch(directory):
  batch = open_examples(directory, "train").get(np.array([], np.int64))
  assert [len(value) for value in vars(batch).values()] == [0] * 5


@pytest.mark.parametrize("index", [-1, 10**9])
def test_an_index_outside_of_the_split_is_an_error(directory, index):
  with pytest.raises(IndexError, match="train split has examples 0 to"):
    open_examples(directory, "train").get([0, index])


def test_examples_travel_to_another_process_without_their_arrays(directory):
  examples = open_examples(directory, "train")
  fresh = len(pickle.dumps(examples))
  expected = examples.get([3, 1]).tokens, examples.lengths.copy(), examples.unigram_counts.copy()
  data = pickle.dumps(examples)
  assert len(data) == fresh
  copy = pickle.loads(data)
  for value, want in zip((copy.get([3, 1]).tokens, copy.lengths, copy.unigram_counts), expected):
    np.testing.assert_array_equal(value, want)


def test_a_set_that_was_moved_still_opens(directory, tmp_path):
  shutil.move(directory, tmp_path / "moved")
  assert len(open_examples(tmp_path / "moved", "valid")) > 0


def test_a_missing_and_a_truncated_shard_are_named(directory):
  path = shard(directory, 1)
  data = path.read_bytes()
  path.write_bytes(data[: len(data) // 2])
  with pytest.raises(InputError, match=rf"{path.name} is damaged: it has [\d,]+ bytes, not"):
    open_examples(directory, "train")
  path.unlink()
  with pytest.raises(InputError, match=f"{path.name} is missing"):
    open_examples(directory, "train")


def test_flipped_bytes_in_a_shard_are_found(directory):
  path = shard(directory)
  data = bytearray(path.read_bytes())
  data[65536:65600] = bytes(64)  # the first record's block
  path.write_bytes(data)
  examples = open_examples(directory, "train")
  with pytest.raises(InputError, match=f"{path.name} cannot be read"):
    examples.get(np.arange(len(examples)))


@pytest.mark.parametrize(("name", "attribute"), [("sizes.train", "lengths"), ("unigram_counts",) * 2])
def test_damaged_arrays_are_named(directory, name, attribute):
  path = directory / f"{name}.npy"
  np.save(path, np.load(path)[:-1])
  with pytest.raises(InputError, match=rf"{name}\.npy is damaged"):
    getattr(open_examples(directory, "train"), attribute)
  path.write_bytes(b"")
  with pytest.raises(InputError, match=rf"{name}\.npy is damaged"):
    getattr(open_examples(directory, "train"), attribute)
  path.unlink()
  with pytest.raises(InputError, match=rf"{name}\.npy cannot be read"):
    getattr(open_examples(directory, "train"), attribute)


def test_another_tokenizer_in_its_place_is_refused(directory):
  path = directory / "tokenizer.txt"
  path.write_text(path.read_text().replace("w7\n", "w007\n"))
  with pytest.raises(InputError, match=r"tokenizer\.txt is damaged"):
    open_examples(directory, "train")
  drop_checksums(directory)  # as a set of an earlier version
  with pytest.raises(InputError, match=r"tokenizer\.txt is not the tokenizer"):
    open_tokenizer(directory)


def test_directories_without_a_whole_set_are_refused(directory, tmp_path):
  with pytest.raises(InputError, match=r"holds no prepared examples.*prepare_data\.py"):
    open_examples(tmp_path, "train")
  with pytest.raises(InputError, match='Unknown split "test"'):
    open_examples(directory, "test")
  metadata = directory / "metadata.json"
  metadata.write_text(metadata.read_text()[:100])
  with pytest.raises(InputError, match=r"metadata\.json is damaged"):
    open_examples(directory, "train")


def nodes(value, path=()):
  """The path of every node of a JSON value."""
  yield path
  items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
  for key, item in items:
    yield from nodes(item, (*path, key))


STRANGE = (None, True, -1, 2**70, 1.5, float("nan"), "x", "../x", "", [], ["x"], {}, {"x": 1}, "\ud800")


@pytest.mark.parametrize("checksums", [True, False])
def test_no_change_of_the_metadata_ends_in_a_traceback(directory, checksums):
  """Without checksums, as in a set of an earlier version, what has the right type may be believed."""
  if not checksums:
    drop_checksums(directory)
  file = directory / "metadata.json"
  original = json.loads(file.read_text())
  refused = 0
  for path in nodes(original):
    for strange in STRANGE:
      changed = json.loads(json.dumps(original)) if path else strange
      place = changed
      for key in path[:-1]:
        place = place[key]
      if path:
        place[path[-1]] = strange
      file.write_text(json.dumps(changed))
      try:
        examples = open_examples(directory, "train")
        examples.get(np.arange(min(3, len(examples))))
        len(examples.lengths)
      except InputError:
        refused += 1
      else:
        assert not checksums or changed == original, (path, strange)
  assert refused > 200


@pytest.mark.parametrize("name", ["sizes.train.npy", "unigram_counts.npy", "tokenizer.txt", "metadata.json"])
def test_a_flipped_bit_beside_the_examples_is_found(directory, name):
  content = bytearray((directory / name).read_bytes())
  content[len(content) // 2] ^= 1
  (directory / name).write_bytes(content)

  def read():
    examples = open_examples(directory, "train")
    return examples.lengths, examples.unigram_counts

  with pytest.raises(InputError, match="damaged"):
    read()
