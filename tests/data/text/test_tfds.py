import json
import os
import pickle

import pytest
import tensorflow_datasets as tfds

from albert_jax.data.text import tfds as tfds_source
from albert_jax.data.text.sources import open_source
from albert_jax.errors import InputError


class SmallText(tfds.core.GeneratorBasedBuilder):
  VERSION = tfds.core.Version("1.0.0")

  def _info(self):
    text = tfds.features.Text()
    features = {"text": text, "title": text, "label": tfds.features.ClassLabel(num_classes=2)}
    return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features), disable_shuffling=True)

  def _split_generators(self, dl_manager):
    return {"train": self._generate_examples()}

  def _generate_examples(self):
    for i in range(5):
      yield i, {"text": f"Café {i}\r\nend\n" if i != 3 else " ", "title": f"Title {i}", "label": 0}


class UnreachableText(SmallText):
  def _split_generators(self, dl_manager):
    raise ConnectionError("no route to host")


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
  folder = tmp_path_factory.mktemp("tfds")
  SmallText(data_dir=folder, file_format="array_record").download_and_prepare()
  return folder


@pytest.fixture(autouse=True)
def environment(monkeypatch, data_dir):
  monkeypatch.setenv("TFDS_DATA_DIR", str(data_dir))


def test_rows_are_documents(monkeypatch):
  monkeypatch.setattr(tfds_source, "ROWS_PER_SHARD", 3)
  monkeypatch.setattr(tfds_source, "ROWS_PER_READ", 2)
  source = open_source("tfds:small_text")
  assert source.shards == ("0-3", "3-5")
  assert list(source.documents()) == [(str(i), f"Café {i}\nend") for i in (0, 1, 2, 4)]
  assert list(pickle.loads(pickle.dumps(source)).read("3-5")) == [("4", "Café 4\nend")]


def test_folder_of_a_prepared_dataset(data_dir):
  source = open_source(f"tfds:{data_dir}/small_text/1.0.0", text_key="title")
  assert [text for _, text in source.documents()] == [f"Title {i}" for i in range(5)]
  assert source.fingerprint != open_source("tfds:small_text").fingerprint


def test_builds_what_is_not_there(tmp_path, monkeypatch):
  monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
  assert len(list(open_source("tfds:small_text").documents())) == 4
  assert list(tmp_path.glob("small_text/1.0.0/*.array_record*"))


def copy_with(data_dir, folder, **changes):
  """A copy of the dataset with other metadata."""
  for file in (data_dir / "small_text/1.0.0").iterdir():
    (folder / file.name).write_bytes(file.read_bytes())
  info = json.loads((folder / "dataset_info.json").read_text())
  (folder / "dataset_info.json").write_text(json.dumps(info | changes))
  return f"tfds:{folder}"


def test_tfrecord_needs_conversion(data_dir, tmp_path):
  with pytest.raises(InputError, match=r"stored as tfrecord, which only TensorFlow reads.*array_record"):
    open_source(copy_with(data_dir, tmp_path, fileFormat="tfrecord"))


def test_no_training_split(data_dir, tmp_path):
  with pytest.raises(InputError, match="has no split 'train'; it has none"):
    open_source(copy_with(data_dir, tmp_path, splits=[]))


@pytest.mark.parametrize("key", ["body", "label"])
def test_no_such_text_feature(key):
  with pytest.raises(InputError, match=f"no text feature '{key}'; its text features are text, title"):
    open_source("tfds:small_text", text_key=key)


def test_unknown_dataset():
  with pytest.raises(InputError, match=r"TFDS knows no dataset 'imdb_review'.*Did you mean imdb_reviews"):
    open_source("tfds:imdb_review")


def test_unknown_config():
  with pytest.raises(InputError, match="TFDS cannot open 'small_text/nope'"):
    open_source("tfds:small_text/nope")


def test_unreachable_dataset():
  with pytest.raises(InputError, match=r"cannot prepare 'unreachable_text': ConnectionError: no route.*tfds build"):
    open_source("tfds:unreachable_text")


def test_datasets_that_tfds_imports_late_are_known(tmp_path, monkeypatch):
  def unreachable(*_, **__):
    raise ConnectionError("no route to host")

  monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
  monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", unreachable)
  for name in ("glue/rte", "wikipedia/20230601.en", "cnn_dailymail", "wmt16_translate/de-en"):
    with pytest.raises(InputError, match=f"cannot prepare '{name}': ConnectionError"):
      tfds_source.open_builder(name)


def test_folder_without_a_dataset(tmp_path):
  with pytest.raises(InputError, match="is no prepared TFDS dataset"):
    open_source(f"tfds:{tmp_path}")


@pytest.mark.parametrize("damage", ["truncated", "empty", "flipped", "missing"])
def test_damaged_files_are_named(data_dir, tmp_path, damage):
  spec = copy_with(data_dir, tmp_path)
  (path,) = tmp_path.glob("*array_record*")
  data = path.read_bytes()
  if damage == "missing":
    path.unlink()
  else:
    middle = len(data) // 2
    flipped = data[:middle] + bytes([data[middle] ^ 255]) + data[middle + 1 :]
    path.write_bytes({"truncated": data[:middle], "empty": b"", "flipped": flipped}[damage])
  with pytest.raises(InputError, match=f"rows from 0 on cannot be read .*{tmp_path}"):
    list(open_source(spec).documents())


def test_a_pipe_in_a_prepared_folder_is_not_waited_for(tmp_path):
  os.mkfifo(tmp_path / "dataset_info.json")
  with pytest.raises(InputError, match=r"dataset_info\.json is not a regular file"):
    open_source(f"tfds:{tmp_path}").fingerprint  # noqa: B018
