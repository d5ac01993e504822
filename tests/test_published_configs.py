"""A published config as the README starts it, with a Hugging Face Hub as the only network."""

import io
import os
from pathlib import Path

import pyarrow
import pyarrow.parquet

from configs import albert_base
from tests.builders import run_program, start_program
from tests.hub_server import kill_half_way

NAME = "datasets/wikimedia/wikipedia"
SIZES = {
  "model": dict(vocab_size=56, embedding=16, width=32, layers=2, heads=2, ffn=64),
  "data": dict(tokenizer="train:sentencepiece:50", max_length=64, valid_fraction=0.1),
  "train": dict(steps=2, batch_size=8, log_every=1),
  "optimizer": dict(warmup_steps=1),
  "eval": dict(every=2, batch_size=8),
  "checkpoint": dict(every=2),
}


def parquet(texts: list[str]) -> bytes:
  file = io.BytesIO()
  pyarrow.parquet.write_table(pyarrow.table({"text": texts}), file)
  return file.getvalue()


def test_albert_base_downloads_wikipedia_and_goes_on_after_a_kill(hub, corpus, tmp_path):
  text = Path(corpus.removeprefix("files:")).read_text().split("\n\n")
  commit, folder = albert_base.get_config().data.source.partition("@")[2].split("/")
  hub.commits[NAME] = [{f"{folder}/a.parquet": parquet(text[:100]), f"{folder}/b.parquet": parquet(text[100:])}]
  hub.newest[NAME] = commit
  overrides = [f"--config.{group}.{key}={value}" for group, keys in SIZES.items() for key, value in keys.items()]
  places = [f"--workdir={tmp_path}/run", f"--config.data.cache_dir={tmp_path}/cache"]
  command = ["train.py", "--config=configs/albert_base.py", *overrides, *places]

  hub.stalled = f"{folder}/b.parquet"
  kill_half_way(start_program(*command), tmp_path / "hub" / "datasets--wikimedia--wikipedia", "a.parquet")
  hub.stalled = ""
  hub.requests.clear()
  assert "step 2/2" in run_program(*command).stderr
  assert [os.path.basename(path) for _, path, _ in hub.requests if path.startswith("/bytes/")] == ["b.parquet"]

  hub.requests.clear()
  assert "step" in run_program(*command, "--config.train.steps=3", "--allow_changes=train.steps").stderr
  assert not hub.requests  # the commit is named and the examples are there
