import io
import os
import pickle
import shutil
import subprocess
import sys

import pyarrow
import pyarrow.parquet
import pytest
from huggingface_hub import constants

from albert_jax.data.text.sources import open_source
from albert_jax.errors import InputError
from tests.builders import ROOT
from tests.hub_server import kill_half_way

NAME = "datasets/owner/set"


def parquet(*texts) -> bytes:
  file = io.BytesIO()
  pyarrow.parquet.write_table(pyarrow.table({"text": texts}), file)
  return file.getvalue()


@pytest.fixture
def hub(hub):
  english = {"en/a.parquet": parquet("one", "two"), "en/b.jsonl": b'{"text": "three"}\n'}
  hub.commits[NAME] = [{"README.md": b"no text", **english, "fr/a.parquet": parquet("un")}]
  return hub


def read(spec, **options):
  return list(open_source(spec, **options).documents())


def test_files_of_a_folder_of_a_pattern_and_by_name(hub):
  english = [("en/a.parquet#0", "one"), ("en/a.parquet#1", "two"), ("en/b.jsonl#0", "three")]
  french = [("fr/a.parquet#0", "un")]
  assert read("hub:owner/set/en") == english
  assert read("hub:owner/set") == english + french
  assert read("hub:owner/set@main/*.parquet") == english[:2] + french
  assert read(f"hub:owner/set@{hub.commit_id(NAME)}/fr/a.parquet") == french


def test_opening_downloads_nothing_and_reading_downloads_once(hub):
  source = open_source("hub:owner/set/en")
  assert not hub.bodies()
  assert list(source.documents()) == list(pickle.loads(pickle.dumps(source)).documents())
  assert hub.bodies() == 2
  asked = len(hub.requests)
  read(f"hub:owner/set@{hub.commit_id(NAME)}/en")
  assert len(hub.requests) == asked  # a commit that is here needs no network


def test_the_fingerprint_is_that_of_the_commit(hub):
  before = open_source("hub:owner/set/en")
  hub.commits[NAME].append({"en/a.parquet": parquet("new")})
  after = open_source("hub:owner/set/en")
  assert before.fingerprint != after.fingerprint
  assert [text for _, text in before.documents()] == ["one", "two", "three"]
  assert [text for _, text in after.documents()] == ["new"]
  before.check_unchanged()
  assert open_source(f"hub:owner/set@{hub.commit_id(NAME, 0)}/en").fingerprint == before.fingerprint
  assert open_source("hub:owner/set/fr").fingerprint != after.fingerprint


@pytest.mark.parametrize(
  "failures",
  [
    {"/tree/": [503, 429]},
    {"/revision/": [429]},
    {"/resolve/": [503]},
    {"/bytes/": [429]},
    {"/bytes/": ["cut", "cut"]},
  ],
)
def test_a_busy_hub_is_asked_again(hub, failures):
  hub.failures = failures
  assert [text for _, text in read("hub:owner/set/en")] == ["one", "two", "three"]
  assert not any(failures.values())


def test_a_cut_download_goes_on_where_it_ended(hub, monkeypatch):
  monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1)
  hub.failures["/bytes/"] = ["cut"]
  read("hub:owner/set/en/b.jsonl")
  size = len(hub.commits[NAME][0]["en/b.jsonl"])
  assert [asked for method, path, asked in hub.requests if "/bytes/" in path] == ["", f"bytes={size // 2}-"]


@pytest.mark.parametrize(
  ("spec", "failures", "message"),
  [
    ("hub:set", {}, "no address on the Hub: write hub:OWNER/NAME"),
    ("hub:", {}, "names no text"),
    ("hub:owner/other", {}, "no such dataset, or it is private: check http.*datasets/owner/other"),
    ("hub:owner/set@v9", {}, "no revision 'v9'"),
    ("hub:owner/set/de", {}, r"no file de/\*\.parquet or de/\*\.jsonl"),
    ("hub:owner/set/README.md#", {}, r"no file"),
    ("hub:ow ner/set", {}, "no name that the Hub knows"),
    ("hub:owner/set", {"/tree/": ["gated"]}, "gated: accept its terms at http.*datasets/owner/set, then log in"),
    ("hub:owner/set", {"/revision/": [429] * 99}, "limits how often it is asked"),
    ("hub:owner/set", {"/tree/": [503] * 999}, "answered 503: try again later"),
    ("hub:owner/set", {"/bytes/": [500] * 999}, "answered 500: try again later"),
  ],
)
def test_what_goes_wrong_is_said_in_a_line(hub, spec, failures, message):
  hub.failures = failures
  with pytest.raises(InputError, match=message) as caught:
    read(spec)
  assert "\n" not in str(caught.value)


def test_no_such_column(hub):
  with pytest.raises(InputError, match=r"a\.parquet: no field 'body'; there are 'text'"):
    read("hub:owner/set/en", text_key="body")


def test_no_network(hub, monkeypatch):
  monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
  for spec in ("hub:owner/set", f"hub:owner/set@{hub.commit_id(NAME)}"):
    with pytest.raises(InputError, match="cannot be reached or does not answer"):
      read(spec)


def test_a_full_disk_is_known_before_the_download(hub, monkeypatch):
  monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(1, 1, 0))
  with pytest.raises(InputError, match=r"GB are to be downloaded, and .* has 0\.00 GB left"):
    read("hub:owner/set/en")
  assert not hub.bodies()


def test_a_killed_download_goes_on_and_keeps_whole_files(hub, tmp_path):
  content = parquet(*(f"{number} {os.urandom(2000).hex()}" for number in range(200)))
  hub.commits[NAME].append({"big.parquet": content, "small.parquet": parquet("small")})
  program = "from huggingface_hub import constants; from albert_jax.data.text.sources import open_source\n"
  program += "constants.DOWNLOAD_CHUNK_SIZE = 1000\n"
  program += "print(len(list(open_source('hub:owner/set').documents())))"
  environment = os.environ | {"PYTHONPATH": str(ROOT)}
  hub.stalled = "big.parquet"
  process = subprocess.Popen([sys.executable, "-c", program], env=environment, stderr=subprocess.PIPE, text=True)
  kill_half_way(process, tmp_path / "hub" / "datasets--owner--set", "small.parquet")
  hub.stalled = ""
  hub.requests.clear()
  output = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
  assert output.stdout.strip() == "201"
  assert [path.rpartition("/")[2] for _, path, _ in hub.requests if path.startswith("/bytes/")] == ["big.parquet"]
