import jax
import numpy as np
import pytest
from flax import nnx

from albert_jax.models.heads import ClassificationModel
from albert_jax.tasks import make_task


@pytest.fixture
def task(make_config):
  return make_task(make_config("race"))


def test_answers_are_read_one_by_one_and_compete(task):
  batch = task.load_data().train.batch(0, 2)
  params = task.init(jax.random.key(0))
  terms, outputs = jax.jit(lambda *arguments: task.forward(*arguments, None))(params, batch)
  model = ClassificationModel(task.encoder, 1, dropout=0.1, rngs=nnx.Rngs(0))
  nnx.update(model, params)
  flat = {name: batch[name].reshape(8, -1) for name in ("tokens", "token_type_ids", "example_ids", "positions")}
  logits_BC = np.asarray(nnx.jit(lambda m, b: m(b, None))(model, flat)).reshape(2, 4)
  np.testing.assert_allclose(outputs["logits"], logits_BC, rtol=1e-5, atol=1e-6)
  losses = -np.log(np.exp(logits_BC) / np.exp(logits_BC).sum(axis=1, keepdims=True))[range(2), batch["labels"]]
  np.testing.assert_allclose(terms["loss"][0], losses.sum(), rtol=1e-4)
  assert terms["loss"][1] == 2
  assert task.scores("valid", {"logits": list(logits_BC), "labels": list(logits_BC.argmax(1))}) == {"accuracy": 1.0}


def test_the_article_is_cut_and_the_answer_kept(make_config):
  task = make_task(make_config("race", "", {"data.max_length": 24, "data.max_question": 12}))
  batch = task.load_data().train.batch(0, 8)
  lengths_BCX = np.stack([(batch["example_ids"] > 0).sum(-1), batch["token_type_ids"].sum(-1)], axis=-1)
  assert lengths_BCX[..., 0].max() == 24
  assert lengths_BCX[..., 1].max() == 13  # with its [SEP]
  tokens = task.load_data().tokenizer.decode(batch["tokens"][0, 0][batch["token_type_ids"][0, 0] > 0])
  assert tokens.endswith("[SEP]")


def test_predictions_are_letters(task, tmp_path):
  (path,) = task.write_predictions("test", {"logits": [np.arange(4.0), -np.arange(4.0)]}, tmp_path)
  assert path.read_text() == "index\tprediction\n0\tD\n1\tA\n"
