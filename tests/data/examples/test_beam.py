import sys

import numpy as np
import pytest
from tensorflow_datasets.core.utils import shard_utils

from albert_jax.data.examples.chunks import ExampleSettings
from albert_jax.data.examples.metadata import SPLITS, read_metadata
from albert_jax.data.examples.prepare import prepare
from albert_jax.data.examples.reader import open_examples
from albert_jax.errors import InputError

SETTINGS = ExampleSettings(max_length=32, layout="sentences", valid_fraction=0.1)


def test_beam_writes_the_records_that_local_processes_write(tmp_path, word_source, word_tokenizer, monkeypatch):
  local = prepare(word_source, word_tokenizer, SETTINGS, tmp_path / "local", processes=1)
  monkeypatch.setattr(shard_utils.ShardConfig, "min_shard_size", 4000)
  beam = prepare(
    word_source,
    word_tokenizer,
    SETTINGS,
    tmp_path / "beam",
    beam_runner="DirectRunner",
    beam_options=["--direct_num_workers=1"],
  )
  assert len(read_metadata(beam)["splits"]["train"]["shards"]) > 3
  for split in SPLITS:
    ours, theirs = open_examples(local, split), open_examples(beam, split)
    assert len(ours) == len(theirs)
    np.testing.assert_array_equal(ours.lengths, theirs.lengths)
    batches = [examples.get(np.arange(len(examples))) for examples in (ours, theirs)]
    for name, value in vars(batches[0]).items():
      np.testing.assert_array_equal(value, getattr(batches[1], name), err_msg=f"{split} {name}")


def test_without_beam_a_runner_is_an_input_error(tmp_path, word_source, word_tokenizer, monkeypatch):
  monkeypatch.delitem(sys.modules, "albert_jax.data.examples.beam", raising=False)
  monkeypatch.setitem(sys.modules, "apache_beam", None)
  with pytest.raises(InputError, match=r"DirectRunner.*pip install 'albert_jax\[beam\]'"):
    prepare(word_source, word_tokenizer, SETTINGS, tmp_path, beam_runner="DirectRunner")
