import math
import re

import jax
import numpy as np
import pytest

from albert_jax.errors import InputError
from albert_jax.tasks import make_task
from tests.builders import make_batch, override


@pytest.fixture
def config():
  from configs import albert_tiny

  return override(albert_tiny.get_config("test"), {"model.vocab_size": 61})


def gradient_of(config):
  """(params, batch) → (gradient of the summed losses, terms)."""
  task = make_task(config)

  def loss(params, batch):
    terms, _ = task.forward(params, batch, None)
    return sum(terms[name][0] for name in task.losses), terms

  return task, jax.grad(loss, has_aux=True)


@pytest.mark.parametrize("chunks", [2, 3])
def test_loss_chunks_change_nothing_but_memory(config, chunks):
  """Three do not divide the predictions of a row."""
  batch = make_batch(config, 0)
  rows, predictions = batch["mlm_labels"].shape
  assert predictions % 3
  task, whole = gradient_of(config)
  params = task.init(jax.random.key(0))
  _, chunked = gradient_of(override(config, {"train.loss_chunks": chunks}))
  expected, found = (jax.jit(function)(params, batch) for function in (whole, chunked))
  largest = max(np.abs(leaf).max() for leaf in jax.tree.leaves(expected[0]))
  for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6 * largest)  # the gradient of the key's bias is zero

  logits = f"f32[{rows},{predictions},61]"
  texts = [str(jax.make_jaxpr(function)(params, batch)) for function in (whole, chunked)]
  assert [logits in text for text in texts] == [True, False]
  assert f"f32[{rows},{-(-predictions // chunks)},61]" in texts[1]


@pytest.mark.parametrize("chunks", [0, 1000])
def test_chunks_of_nothing_are_refused(config, chunks):
  with pytest.raises(InputError, match=r"train\.loss_chunks"):
    make_task(override(config, {"train.loss_chunks": chunks}))


def first_batches(config, **changes):
  """One training and one evaluation batch under changed keys, and the fingerprint of the data."""
  data = make_task(override(config.copy_and_resolve_references(), changes)).load_data()
  return data.train.batch(0, 8, 0, 8), data.evaluations["valid"].batch(0, 8, 0, 8), data.fingerprint


def is_same(one, other) -> bool:
  return all(np.array_equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
  ("changes", "same_training", "same_evaluation"),
  [
    ({"seed": 3}, False, True),
    ({"data.seed": 3}, False, True),
    ({"seed": 3, "data.seed": 0}, True, True),
    ({"data.holdout_seed": 3}, False, False),
  ],
)
def test_runs_with_other_seeds_are_scored_on_the_same_predictions(tiny_config, changes, same_training, same_evaluation):
  train, valid, fingerprint = first_batches(tiny_config)
  other_train, other_valid, other_fingerprint = first_batches(tiny_config, **changes)
  assert is_same(train, other_train) == same_training
  assert is_same(valid, other_valid) == same_evaluation
  assert (fingerprint == other_fingerprint) == same_evaluation  # one prepared set


def test_segments_that_the_model_cannot_tell_apart_are_refused(config):
  with pytest.raises(InputError, match=r"model\.token_types=1"):
    make_task(override(config, {"model.token_types": 1}))
  make_task(override(config, {"model.token_types": 1, "data.pair_objective": "none"}))


def load(config, folder, text, **changes):
  """The data of a run on a text, with a tokenizer that knows the words a, b and c."""
  (folder / "text.txt").write_text(text)
  (folder / "vocab.txt").write_text(
    "\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "##a", "b", "c"]) + "\n"
  )
  changes |= {"data.source": f"files:{folder}/text.txt", "data.tokenizer": f"{folder}/vocab.txt"}
  return make_task(
    override(config, {"data.cache_dir": f"{folder}/cache", "data.layout": "sentences", **changes})
  ).load_data()


def test_a_loss_without_a_term_is_an_error(config, tmp_path):
  with pytest.raises(InputError, match=r"data\.pair_objective=sop: none of the \d+ examples"):
    load(config, tmp_path, "a b c\n\n" * 9)
  with pytest.raises(InputError, match=r"100% of the text is \[UNK\]"):
    load(config, tmp_path, "x y\nz z\n\n" * 9)


def test_the_start_counts_what_there_is(config, tmp_path, capsys):
  load(config, tmp_path, "a b c\nb c a\n\na b\n\nb x\nc b\n\n" * 9)
  found = capsys.readouterr().err
  assert re.search(r"text: \d+ examples to train on, \d\d\.\d% with a pair, \d+\.\d\d% of the tokens \[UNK\]", found)
  assert re.search(r"warning: \d+% of the tokens are \[UNK\]", found)


def test_text_without_spaces_trains(config, tmp_path):
  changes = {"data.pair_objective": "none", "data.whole_word": True}
  batch = load(config, tmp_path, f"{'a' * 60}\n\n" * 9, **changes).train.batch(0, 8, 0, 8)
  assert batch["mlm_weights"].any(axis=1).all()


def test_what_was_never_computed_is_no_zero(config):
  task = make_task(config)
  assert math.isnan(task.metrics({"fill": 0.5})["loss"])
  assert task.metrics({"mlm_loss": 2.0})["loss"] == 2.0
