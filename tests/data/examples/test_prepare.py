import fcntl
import itertools
import json
import os
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds

from albert_jax.data.examples import encode, finish, reader, writer
from albert_jax.data.examples import prepare as prepare_module
from albert_jax.data.examples.chunks import ExampleSettings, stable_hash
from albert_jax.data.examples.encode import DocumentEncoder
from albert_jax.data.examples.metadata import read_metadata
from albert_jax.data.examples.prepare import prepare
from albert_jax.data.examples.reader import open_examples
from albert_jax.data.text.sources import open_source
from albert_jax.data.tokenizers.registry import load_tokenizer
from albert_jax.errors import InputError
from tests.builders import ROOT

SETTINGS = ExampleSettings(max_length=32, layout="sentences", valid_fraction=0.1)
FIELDS = ("tokens", "lengths", "sentence_lengths", "sentences", "document")


def read_all(directory, split):
  opened = open_examples(directory, split)
  return opened.get(np.arange(len(opened)))


def assert_same_sets(one, other):
  for split, field in itertools.product(("train", "valid"), FIELDS):
    values = [getattr(read_all(directory, split), field) for directory in (one, other)]
    np.testing.assert_array_equal(*values, err_msg=f"{split} {field}")


def tokens_by_document(batch):
  ends = np.cumsum(batch.lengths)[:-1]
  tokens = {}
  for document, part in zip(batch.document.tolist(), np.split(batch.tokens, ends)):
    tokens.setdefault(document, []).extend(part.tolist())
  return tokens


def test_both_splits_together_hold_every_document_whole_and_once(tmp_path, word_source, word_tokenizer):
  directory = prepare(word_source, word_tokenizer, SETTINGS, tmp_path / "cache", processes=1)
  train, valid = (tokens_by_document(read_all(directory, split)) for split in ("train", "valid"))
  expected = {stable_hash(key): word_tokenizer.encode(text) for key, text in word_source.documents()}
  assert train.keys().isdisjoint(valid)
  assert train | valid == expected
  assert 1 <= len(valid) <= 15


def test_records_hold_whole_sentences_that_fill_the_row(tmp_path, word_source, word_tokenizer):
  directory = prepare(word_source, word_tokenizer, SETTINGS, tmp_path / "cache", processes=1)
  batch = read_all(directory, "train")
  assert batch.lengths.max() > 29 >= batch.sentence_lengths.max()
  assert batch.sentences.sum() == len(batch.sentence_lengths)
  owner = np.repeat(np.arange(len(batch.sentences)), batch.sentences)
  np.testing.assert_array_equal(np.bincount(owner, batch.sentence_lengths), batch.lengths)


def test_metadata_counts_what_is_there(tmp_path, word_source, word_tokenizer, monkeypatch):
  monkeypatch.setattr(finish, "READ_AT_ONCE", 3)
  monkeypatch.setattr(reader, "READ_AT_ONCE", 3)
  directory = prepare(word_source, word_tokenizer, SETTINGS, tmp_path / "cache", processes=1)
  metadata = read_metadata(directory)
  for split in ("train", "valid"):
    batch, opened = read_all(directory, split), open_examples(directory, split)
    counts = metadata["splits"][split]
    assert counts["examples"] == len(opened) == len(batch.lengths)
    assert counts["documents"] == len(set(batch.document.tolist()))
    assert counts["sentences"] == len(batch.sentence_lengths)
    assert counts["tokens"] == len(batch.tokens)
    np.testing.assert_array_equal(opened.lengths, batch.lengths)
    np.testing.assert_array_equal(opened.sentences, batch.sentences)
  train = np.bincount(read_all(directory, "train").tokens, minlength=word_tokenizer.vocab_size)
  for split in ("train", "valid"):
    np.testing.assert_array_equal(open_examples(directory, split).unigram_counts, train)
  assert metadata["tokenizer"]["fingerprint"] == word_tokenizer.fingerprint
  assert metadata["source"] == {"spec": word_source.spec, "fingerprint": word_source.fingerprint}
  assert metadata["layout"] == "sentences"


def test_tfds_reads_the_set_without_this_project(tmp_path, word_source, word_tokenizer):
  directory = prepare(word_source, word_tokenizer, SETTINGS, tmp_path / "cache", processes=1)
  data = tfds.builder_from_directory(directory).as_data_source("train")
  ours = open_examples(directory, "train")
  assert len(data) == len(ours)
  for i in (0, len(ours) - 1):
    mine = ours.get([i])
    np.testing.assert_array_equal(data[i]["tokens"], mine.tokens)
    np.testing.assert_array_equal(data[i]["sentence_lengths"], mine.sentence_lengths)
    assert data[i]["document"] == mine.document[0]
  assert data[0]["tokens"].dtype == np.uint16


def test_neither_processes_nor_shards_change_the_records(tmp_path, word_source, word_tokenizer, monkeypatch):
  one = prepare(word_source, word_tokenizer, SETTINGS, tmp_path / "one", processes=1)
  monkeypatch.setattr(writer, "BATCH_CHARACTERS", 500)
  monkeypatch.setattr(writer, "SHARD_BYTES", 4000)
  two = prepare(word_source, word_tokenizer, SETTINGS, tmp_path / "two", processes=2)
  assert_same_sets(one, two)
  shards = read_metadata(two)["splits"]["train"]["shards"]
  assert len(shards) > 3
  assert [shard["file"] for shard in shards] == [
    f"pretraining_examples-train.array_record-{i:05}-of-{len(shards):05}" for i in range(len(shards))
  ]


def test_layout_is_looked_at_only_when_it_is_not_given(tmp_path, word_source, word_tokenizer):
  def layout(setting):
    settings = ExampleSettings(max_length=32, layout=setting)
    return read_metadata(prepare(word_source, word_tokenizer, settings, tmp_path))["layout"]

  assert layout("auto") == "sentences"
  assert layout("paragraphs") == "paragraphs"


def test_large_vocabularies_keep_their_ids(tmp_path):
  vocabulary = tmp_path / "large.txt"
  words = [f"w{i}" for i in range(70_000)]
  vocabulary.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]) + "\n")
  (tmp_path / "a.txt").write_text("w69999 w0\n\nw69999 w0\n")
  source = open_source(f"files:{tmp_path}/a.txt")
  directory = prepare(source, load_tokenizer(str(vocabulary)), SETTINGS, tmp_path / "cache")
  np.testing.assert_array_equal(read_all(directory, "train").tokens, [70_004, 5])


@pytest.mark.parametrize(("fraction", "expected"), [(1e-9, [2, 1]), (1 - 1e-9, [1, 2])])
def test_a_tiny_corpus_fills_both_splits(tmp_path, word_tokenizer, fraction, expected):
  (tmp_path / "a.txt").write_text("w1 w2\n\nw3 w4\n\nw5 w6\n")
  settings = ExampleSettings(max_length=32, valid_fraction=fraction)
  source = open_source(f"files:{tmp_path}/a.txt")
  splits = read_metadata(prepare(source, word_tokenizer, settings, tmp_path / "cache"))["splits"]
  assert [splits[split]["documents"] for split in ("train", "valid")] == expected


def test_one_document_is_not_enough(tmp_path, word_tokenizer):
  (tmp_path / "a.txt").write_text("w1 w2\nw3 w4\n")
  with pytest.raises(InputError, match=r"a\.txt.*one document.*two are needed"):
    prepare(open_source(f"files:{tmp_path}/a.txt"), word_tokenizer, SETTINGS, tmp_path / "cache")


def test_held_out_documents_are_a_stable_share(word_tokenizer):
  def held_out(seed, documents=20_000):
    encoder = DocumentEncoder(word_tokenizer, ExampleSettings(valid_fraction=0.05, seed=seed), "sentences", 2**64 // 20)
    return {i for i in range(documents) if encoder.split(f"document {i}") == "valid"}

  assert held_out(0) == held_out(0)
  assert 800 < len(held_out(0)) < 1200
  assert len(held_out(0) & held_out(1)) < 100


def test_text_goes_through_the_tokenizer_in_bounded_parts(word_tokenizer, monkeypatch):
  documents = [(str(i), "\n".join(f"w{j} w{i}" for j in range(20))) for i in range(5)]
  coder = DocumentEncoder(word_tokenizer, SETTINGS, "sentences", 0)
  whole = [*coder.encode(documents)]
  sizes = []
  encode_batch = word_tokenizer.encode_batch
  monkeypatch.setattr(encode, "CHARACTERS_AT_ONCE", 50)
  monkeypatch.setattr(
    word_tokenizer, "encode_batch", lambda texts: sizes.append(sum(map(len, texts))) or encode_batch(texts)
  )
  parts = [*coder.encode(documents)]
  assert max(sizes) <= 50
  assert len(sizes) > 5
  for (split, examples), (other_split, others) in zip(whole, parts, strict=True):
    assert split == other_split
    for one, other in zip(examples, others, strict=True):
      for name in one:
        np.testing.assert_array_equal(one[name], other[name])


def test_documents_without_tokens_are_an_input_error(tmp_path, word_tokenizer):
  (tmp_path / "a.txt").write_text("\u200b\n\n\u200b\n")
  with pytest.raises(InputError, match=r"split holds no example"):
    prepare(open_source(f"files:{tmp_path}/a.txt"), word_tokenizer, SETTINGS, tmp_path / "cache")


def test_other_text_another_tokenizer_and_other_settings_make_another_set(tmp_path, word_source, word_tokenizer):
  def directory(seed=0):
    # Opened anew, as the next run would.
    source, tokenizer = open_source(word_source.spec), load_tokenizer(word_tokenizer.path)
    return prepare(source, tokenizer, ExampleSettings(max_length=32, seed=seed), tmp_path / "cache")

  made = [directory(), directory(seed=1)]
  with open(tmp_path / "text" / "a.txt", "a") as file:
    file.write("\nw1 w2 w3\n")
  made.append(directory())
  with open(word_tokenizer.path, "a") as file:
    file.write("another\n")
  made.append(directory())
  assert len(set(made)) == 4


def test_a_set_that_is_there_is_found_without_writing(tmp_path, word_source, word_tokenizer, monkeypatch):
  made = prepare(word_source, word_tokenizer, SETTINGS, tmp_path / "cache")
  lock = made.parent.parent / "lock"
  lock.unlink()
  monkeypatch.setattr(prepare_module, "write_examples", None)
  assert prepare(word_source, word_tokenizer, SETTINGS, tmp_path / "cache") == made
  assert not lock.exists()


def test_a_failure_leaves_nothing_behind(tmp_path, word_source, word_tokenizer, monkeypatch):
  def fail(self):
    raise RuntimeError("write failed: No space left on device")

  with monkeypatch.context() as patch:
    patch.setattr(writer._SplitWriter, "finish", fail)
    with pytest.raises(InputError, match=r"No space left in .*data\.cache_dir"):
      prepare(word_source, word_tokenizer, SETTINGS, tmp_path / "cache")
  files = [path.name for path in (tmp_path / "cache").rglob("*") if path.is_file()]
  assert files == ["lock"]
  prepare(word_source, word_tokenizer, SETTINGS, tmp_path / "cache")


def test_what_a_killed_process_left_is_removed(tmp_path, word_source, word_tokenizer):
  directory = prepare(word_source, word_tokenizer, SETTINGS, tmp_path / "cache")
  (directory / "metadata.json").unlink()
  leftovers = [directory.parent / name for name in ("incomplete.ABCDEF_1.0.0", ".1.0.0-abc")]
  for leftover in leftovers:
    leftover.mkdir()
    (leftover / "train.0").write_bytes(b"half")
  assert prepare(word_source, word_tokenizer, SETTINGS, tmp_path / "cache") == directory
  assert (directory / "metadata.json").exists()
  assert not any(leftover.exists() for leftover in leftovers)


def test_a_second_process_waits_for_the_first_and_takes_its_set(tmp_path, word_source, word_tokenizer):
  elsewhere = prepare(word_source, word_tokenizer, SETTINGS, tmp_path / "elsewhere")
  directory = tmp_path / "cache" / elsewhere.relative_to(tmp_path / "elsewhere")
  lock_path = directory.parent.parent / "lock"
  lock_path.parent.mkdir(parents=True)
  second = threading.Thread(target=prepare, args=(word_source, word_tokenizer, SETTINGS, tmp_path / "cache"))
  with lock_path.open("w") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    second.start()
    second.join(0.5)
    assert second.is_alive()
    assert not directory.exists()
    shutil.copytree(elsewhere, directory)
    (directory / "made by the first").touch()
  second.join(30)
  assert not second.is_alive()
  assert (directory / "made by the first").exists()


def test_a_cache_dir_that_cannot_be_written_is_named(tmp_path, word_source, word_tokenizer):
  (tmp_path / "file").write_text("")
  with pytest.raises(InputError, match=r"Cannot write to .*file.*data\.cache_dir"):
    prepare(word_source, word_tokenizer, SETTINGS, tmp_path / "file")


def test_metadata_is_plain_json(tmp_path, word_source, word_tokenizer):
  directory = prepare(word_source, word_tokenizer, SETTINGS, tmp_path / "cache")
  settings = json.loads((directory / "metadata.json").read_text())["settings"]
  assert ExampleSettings(**settings) == SETTINGS


OLD = Path(__file__).parent / "prepared_2026_11"
WRITTEN = 1_795_737_600  # of the text; see tests/test_old_workdir.py


def test_a_set_of_an_earlier_version_is_found_and_read(tmp_path, monkeypatch):
  """Made on 2026-11-27 by the version of 20f520e from the text of tests/workdirs/2026_11; never make it anew."""
  shutil.copytree(ROOT / "tests" / "workdirs" / "2026_11", tmp_path, dirs_exist_ok=True)
  for path in (tmp_path / "text").iterdir():
    os.utime(path, (WRITTEN, WRITTEN))
  monkeypatch.chdir(tmp_path)
  source, tokenizer = open_source("files:text/*.txt"), load_tokenizer("vocab.txt")
  settings = ExampleSettings(max_length=32, valid_fraction=0.1)
  made = prepare(source, tokenizer, settings, tmp_path / "new", processes=1)
  shutil.copytree(OLD, tmp_path / "old")
  monkeypatch.setattr(prepare_module, "write_examples", None)
  old = prepare(source, tokenizer, settings, tmp_path / "old")
  assert old.relative_to(tmp_path / "old") == made.relative_to(tmp_path / "new")
  assert_same_sets(old, made)
