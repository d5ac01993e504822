"""Our models against transformers' and PyTorch's: outputs of every head, and gradients."""

import jax
import numpy as np
import optax
import pytest
import torch
from torch.nn.functional import cross_entropy

from albert_jax.interop.huggingface import read_huggingface
from tests.interop.conftest import assert_close, make_ours, make_rows, make_torch, torch_inputs

OUTPUTS, GRADIENTS = 1e-5, 1e-4  # of the largest value
SHAPES = {
  "bert": ("BertForPreTraining", {}),
  "albert": ("AlbertForPreTraining", {}),
  "albert, E = H": ("AlbertForPreTraining", dict(embedding_size=24, num_hidden_layers=2)),
  "albert, groups": ("AlbertForPreTraining", dict(num_hidden_layers=5, num_hidden_groups=3)),
  "albert, inner groups": ("AlbertForPreTraining", dict(num_hidden_groups=2, inner_group_num=2)),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_pretraining_outputs_and_gradients(shape, save):
  name, config = SHAPES[shape]
  theirs, rows = make_torch(name, **config), make_rows()
  found = read_huggingface(save(theirs))
  model = make_ours(found.model, "pretrain", pair=True)
  real = rows["example_ids"] > 0

  def loss(params):
    mlm_logits, pair_logits = model(params, rows)
    mlm = optax.softmax_cross_entropy_with_integer_labels(mlm_logits, rows["mlm_labels"])
    pair = optax.softmax_cross_entropy_with_integer_labels(pair_logits[:, 0], rows["pair_labels"])
    return (mlm * real).sum() / real.sum() + pair.mean(), (mlm_logits, pair_logits[:, 0])

  gradients, (mlm_logits, pair_logits) = jax.jit(jax.grad(loss, has_aux=True))(found.params)
  out = theirs(**torch_inputs(rows))
  pair = out.seq_relationship_logits if name.startswith("Bert") else out.sop_logits
  assert_close(mlm_logits[real], out.prediction_logits[torch.tensor(real)], OUTPUTS)
  assert_close(pair_logits, pair, OUTPUTS)

  labels = torch.tensor(np.where(real, rows["mlm_labels"], -100))
  total = cross_entropy(out.prediction_logits.flatten(0, 1), labels.flatten())
  (total + cross_entropy(pair, torch.tensor(rows["pair_labels"]))).backward()
  with torch.no_grad():
    for parameter in theirs.parameters():
      parameter.copy_(parameter.grad)
  wanted = read_huggingface(save(theirs, "gradients")).params
  largest = max(np.abs(leaf).max() for leaf in jax.tree.leaves(wanted))
  for path, leaf in jax.tree_util.tree_leaves_with_path(wanted):
    ours = np.asarray(_at(gradients, path))
    # A key's bias moves all of a query's scores alike: its gradient is zero but for rounding.
    scale = largest if "key" in str(path[2:]) and "bias" in str(path[-1]) else np.abs(leaf).max()
    np.testing.assert_allclose(ours, leaf, rtol=0, atol=GRADIENTS * scale, err_msg=str(path))


def _at(tree, path):
  for entry in path:
    tree = tree[entry.key]
  return tree


@pytest.mark.parametrize("family", ["Bert", "Albert"])
class TestHeads:
  def test_masked_lm(self, family, save):
    theirs, rows = make_torch(f"{family}ForMaskedLM", hidden_act="relu"), make_rows()
    found = read_huggingface(save(theirs))
    assert found.head == "mlm"
    assert set(found.params) == {"encoder", "mlm"}
    logits, pair = jax.jit(make_ours(found.model, "pretrain", pair=False))(found.params, rows)
    real = rows["example_ids"] > 0
    assert pair is None
    assert_close(logits[real], theirs(**torch_inputs(rows)).logits[torch.tensor(real)], OUTPUTS)

  def test_classification(self, family, save):
    theirs, rows = make_torch(f"{family}ForSequenceClassification", num_labels=3), make_rows()
    found = read_huggingface(save(theirs))
    assert (found.head, found.labels, found.regression) == ("classify", ("LABEL_0", "LABEL_1", "LABEL_2"), False)
    logits = jax.jit(make_ours(found.model, "classify", outputs=3))(found.params, rows)
    assert_close(logits, theirs(**torch_inputs(rows)).logits, OUTPUTS)

  def test_spans(self, family, save):
    theirs, rows = make_torch(f"{family}ForQuestionAnswering"), make_rows()
    found = read_huggingface(save(theirs))
    assert found.head == "span"
    starts, ends = jax.jit(make_ours(found.model, "span"))(found.params, rows)
    out, real = theirs(**torch_inputs(rows)), rows["example_ids"] > 0
    assert_close(starts[real], out.start_logits[torch.tensor(real)], OUTPUTS)
    assert_close(ends[real], out.end_logits[torch.tensor(real)], OUTPUTS)

  def test_multiple_choice(self, family, save):
    theirs, rows = make_torch(f"{family}ForMultipleChoice"), make_rows()
    found = read_huggingface(save(theirs))
    assert found.head == "choice"
    logits = jax.jit(make_ours(found.model, "classify", outputs=1))(found.params, rows)
    inputs = {name: tensor[None] for name, tensor in torch_inputs(rows).items()}
    assert_close(logits.T, theirs(**inputs).logits, OUTPUTS)

  def test_bare_model(self, family, save):
    theirs, rows = make_torch(f"{family}Model"), make_rows()
    found = read_huggingface(save(theirs))
    assert found.head == "encoder"
    assert set(found.params) == {"encoder", "pooler"}
    # With the unit matrix for a classifier and logits as far as tanh reaches, the logits are what is pooled.
    width = found.model["width"]
    params = found.params | {"classifier": {"kernel": np.eye(width, dtype=np.float32), "bias": np.zeros(width)}}
    pooled = jax.jit(make_ours(found.model, "classify", outputs=width))(params, rows)
    assert_close(pooled, theirs(**torch_inputs(rows)).pooler_output, OUTPUTS)


def test_next_sentence_head_alone(save):
  theirs, rows = make_torch("BertForNextSentencePrediction"), make_rows()
  found = read_huggingface(save(theirs))
  assert found.head == "encoder"
  params = {name: found.params[name] for name in ("encoder", "pooler")} | {"classifier": found.params["pair"]}
  logits = jax.jit(make_ours(found.model, "classify", outputs=2))(params, rows)
  assert_close(logits, theirs(**torch_inputs(rows)).logits, OUTPUTS)
