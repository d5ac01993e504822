import pathlib
import subprocess
import sys

import ml_collections

from albert_jax.data.examples.metadata import read_metadata
from albert_jax.data.examples.prepare import prepare_from_config
from albert_jax.data.examples.reader import open_tokenizer

SCRIPT = pathlib.Path(__file__).parents[3] / "scripts" / "prepare_data.py"

CONFIG = """
import ml_collections

def get_config():
  return ml_collections.ConfigDict(dict(
    data=dict(holdout_seed=3, source={source!r}, tokenizer={tokenizer!r}, cache_dir={cache_dir!r}, max_length=32,
      short_seq_prob=0.2, layout="sentences", valid_fraction=0.1, text_key="text"),
  ))
"""


def run_script(tmp_path, *arguments, **values):
  config = tmp_path / "config.py"
  config.write_text(CONFIG.format(cache_dir=str(tmp_path / "cache"), **values))
  command = [sys.executable, SCRIPT, f"--config={config}", *arguments]
  return subprocess.run(command, capture_output=True, text=True, check=False)


def test_every_key_of_the_config_arrives(tmp_path, word_source, word_tokenizer):
  data = ml_collections.ConfigDict(
    dict(
      source=word_source.spec,
      text_key="text",
      tokenizer=word_tokenizer.path,
      cache_dir=str(tmp_path / "cache"),
      max_length=40,
      short_seq_prob=0.3,
      layout="paragraphs",
      valid_fraction=0.2,
      holdout_seed=7,
      seed=-1,
    )
  )
  directory, tokenizer = prepare_from_config(data, processes=1)
  metadata = read_metadata(directory)
  assert directory.is_relative_to(tmp_path / "cache")
  assert metadata["source"]["spec"] == word_source.spec
  assert metadata["settings"] == dict(
    max_length=40, short_seq_prob=0.3, layout="paragraphs", valid_fraction=0.2, seed=7
  )
  assert tokenizer.fingerprint == open_tokenizer(directory).fingerprint


def test_the_script_prints_where_the_set_is_and_what_it_holds(tmp_path, word_source, word_tokenizer):
  done = run_script(tmp_path, source=word_source.spec, tokenizer=word_tokenizer.path)
  assert done.returncode == 0, done.stderr
  [directory] = (tmp_path / "cache").glob("*/*/*/")
  assert f"Examples:  {directory}\n" in done.stdout
  counts = read_metadata(directory)["splits"]["train"]
  assert f"train: {counts['documents']} documents, {counts['sentences']:,} sentences" in done.stdout


def test_the_script_says_what_is_wrong_without_a_traceback(tmp_path, word_tokenizer):
  done = run_script(tmp_path, source=f"files:{tmp_path}/no*.txt", tokenizer=word_tokenizer.path)
  assert done.returncode == 2
  assert done.stderr.startswith("error: No file matches")
  assert "Traceback" not in done.stderr
