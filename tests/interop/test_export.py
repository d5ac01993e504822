import json
import os

import jax
import ml_collections
import numpy as np
import pytest
import torch
import transformers

from albert_jax.data.tokenizers.hf_folder import save_tokenizer
from albert_jax.data.tokenizers.registry import load_tokenizer
from albert_jax.errors import InputError
from albert_jax.interop.export import export_huggingface
from albert_jax.interop.huggingface import import_huggingface, read_huggingface
from albert_jax.interop.tensor_names import param_specs
from albert_jax.tasks.settings import encoder_config
from tests.interop.conftest import (
  assert_close,
  assert_equal,
  make_ours,
  make_rows,
  make_torch,
  make_workdir,
  torch_inputs,
)

MODEL = dict(vocab_size=37, embedding=24, width=24, layers=6, heads=4, ffn=20, positions=16, token_types=3)
MODEL |= dict(
  activation="gelu_tanh", project_embeddings=False, classifier_dropout=0.2, dropout=0.0, attention_dropout=0.0
)
CLASSES = [
  ("BertForPreTraining", {}),
  ("BertForMaskedLM", {}),
  ("BertForNextSentencePrediction", {}),
  ("BertForSequenceClassification", dict(id2label={0: "no", 1: "maybe", 2: "yes"}, classifier_dropout=0.3)),
  ("BertForQuestionAnswering", {}),
  ("BertForMultipleChoice", {}),
  ("BertModel", {}),
  ("AlbertForPreTraining", dict(num_hidden_groups=2, inner_group_num=2)),
  ("AlbertForMaskedLM", dict(embedding_size=24)),
  ("AlbertForSequenceClassification", dict(num_labels=1, problem_type="regression")),
  ("AlbertForQuestionAnswering", dict(num_hidden_groups=4)),
  ("AlbertForMultipleChoice", {}),
  ("AlbertModel", {}),
]


def load(folder: str, name: str) -> torch.nn.Module:
  """A model that transformers loads without a complaint."""
  model, told = getattr(transformers, name).from_pretrained(folder, output_loading_info=True)
  assert not any(told.values()), told
  return model.eval()


def make_params(model: dict, *parts: str, outputs: int = 2) -> dict:
  """Random parameters of a model, not at trivial values."""
  random = np.random.default_rng(0)
  config = encoder_config(ml_collections.ConfigDict(model | {"dtype": "float32"}))
  specs = param_specs(config, parts, outputs)
  return jax.tree.map(lambda spec: random.normal(0.3, 0.3, spec.shape).astype(np.float32), specs)


@pytest.mark.parametrize(("name", "config"), CLASSES, ids=[f"{name} {len(config)}" for name, config in CLASSES])
def test_there_and_back_changes_no_bit(name, config, save, tmp_path):
  theirs = make_torch(name, **config)
  first = save(theirs)
  import_huggingface(first, str(tmp_path / "run"))
  assert export_huggingface(str(tmp_path / "run"), str(tmp_path / "out")) == name
  again = load(str(tmp_path / "out"), name)
  assert_equal(dict(again.state_dict()), dict(theirs.state_dict()))
  for key in ("num_hidden_layers", "hidden_act", "id2label"):
    assert getattr(again.config, key) == getattr(theirs.config, key)
  before, after = read_huggingface(first), read_huggingface(save(again, "again"))
  assert_equal(after.params, before.params)
  assert after.model == before.model
  assert (after.head, after.labels, after.regression) == (before.head, before.labels, before.regression)


SHARING = [
  # attention, feed-forward, E, class, its layers, inner groups, groups; None = every layer has weights of its own
  ("all", "all", 12, "Albert", (6, 1, 1)),
  ("groups:3", "0,0,1,1,2,2", 12, "Albert", (6, 1, 3)),
  ("cycle:2", "cycle:2", 12, "Albert", (3, 2, 1)),
  ("none", "none", 12, "Albert", (6, 1, 6)),
  ("all", "none", 12, "Albert", None),
  ("sandwich", "sandwich", 12, "Albert", None),
  ("none", "none", 24, "Bert", (6,)),
  ("all", "cycle:3", 24, "Bert", None),
]


@pytest.mark.parametrize(("attn", "ffn", "embedding", "family", "layout"), SHARING)
def test_every_sharing_table_keeps_its_outputs(attn, ffn, embedding, family, layout, tmp_path, capsys):
  model = MODEL | {"embedding": embedding, "sharing": {"attn": attn, "ffn": ffn}}
  params = make_params(model, "mlm", "pooler", "pair")
  workdir = make_workdir(tmp_path / "run", model, params, "pretrain", pair_objective="sop")
  name = export_huggingface(workdir, str(tmp_path / "out"))
  assert name == f"{family}ForPreTraining"
  theirs, rows = load(str(tmp_path / "out"), name), make_rows()
  if family == "Albert":
    found = theirs.config.num_hidden_layers, theirs.config.inner_group_num, theirs.config.num_hidden_groups
    assert found == (layout or (6, 1, 6))
  assert ("own copy" in capsys.readouterr().err) == (layout is None)
  logits, pair = make_ours(model, "pretrain", pair=True)(params, rows)
  out, real = theirs(**torch_inputs(rows)), rows["example_ids"] > 0
  assert_close(logits[real], out.prediction_logits[torch.tensor(real)], 1e-5)
  assert_close(pair[:, 0], out.sop_logits if family == "Albert" else out.seq_relationship_logits, 1e-5)


DEPTH = dict(lora=2, lora_on="query,down", embedding="learned", residual="inverse")


@pytest.mark.parametrize(("family", "embedding"), [("Albert", 12), ("Bert", 24)])
def test_what_transformers_cannot_express_is_worked_into_the_weights(family, embedding, tmp_path, capsys):
  sharing = {"attn": "all", "ffn": "none", "key": "cycle:2", "norm": "none", "bias": "loop:1-2-1"}
  model = MODEL | {"embedding": embedding, "sharing": sharing, "depth": DEPTH}
  params = make_params(model, "mlm", "pooler", "pair")
  workdir = make_workdir(tmp_path / "run", model, params, "pretrain", pair_objective="sop")
  assert export_huggingface(workdir, str(tmp_path / "out")) == f"{family}ForPreTraining"
  assert "own copy" in capsys.readouterr().err
  logits, _ = make_ours(model, "pretrain", pair=True)(params, make_rows())
  out = load(str(tmp_path / "out"), f"{family}ForPreTraining")(**torch_inputs(make_rows()))
  real = make_rows()["example_ids"] > 0
  assert_close(logits[real], out.prediction_logits[torch.tensor(real)], 1e-5)


def test_encoder_without_a_pooler(tmp_path, capsys):
  model = MODEL | {"sharing": {"attn": "none", "ffn": "none"}}
  workdir = make_workdir(tmp_path / "run", model, make_params(model), "pretrain", pair_objective="none")
  assert export_huggingface(workdir, str(tmp_path / "out")) == "BertModel"
  assert "has no pooler: load it with add_pooling_layer=False" in capsys.readouterr().err
  assert "BertModel.from_pretrained(FOLDER, add_pooling_layer=False)" in (tmp_path / "out" / "README.md").read_text()
  arguments = dict(add_pooling_layer=False, output_loading_info=True)
  told = transformers.BertModel.from_pretrained(tmp_path / "out", **arguments)[1]
  assert not any(told.values()), told


class TestFolder:
  @pytest.fixture
  def workdir(self, tmp_path):
    model = MODEL | {"sharing": {"attn": "all", "ffn": "none"}}
    params = make_params(model, "pooler", "classifier", outputs=2)
    return make_workdir(tmp_path / "run", model, params, "classify", labels=("bad", "good"), max_length=16)

  def test_card_tells_the_training(self, workdir, tmp_path):
    records = [
      {"step": 2, "split": "valid", "loss": 1.5},
      {"step": 3, "split": "valid", "loss": 0.25},
      {"step": 4, "split": "valid", "loss": 9.0},
    ]
    (tmp_path / "run" / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    export_huggingface(workdir, str(tmp_path / "out"))
    card = (tmp_path / "out" / "README.md").read_text()
    assert "**valid** at step 3: loss 0.25\n" in card
    assert "| sharing of attn | `all`: layers read weight groups 0 0 0 0 0 0 |" in card
    assert "| steps | 3 |" in card
    assert "in training)" in card

  def test_tokenizer_comes_along(self, workdir, tmp_path):
    vocabulary = tmp_path / "vocab.txt"
    vocabulary.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "##b", "c"]) + "\n")
    tokenizer = load_tokenizer(str(vocabulary))
    save_tokenizer(tokenizer, os.path.join(workdir, "tokenizer"))
    export_huggingface(workdir, str(tmp_path / "out"))
    theirs = transformers.AutoTokenizer.from_pretrained(str(tmp_path / "out"))
    assert theirs("ab c")["input_ids"] == [2, 5, 6, 7, 3]
    assert theirs.model_max_length == 16
    config = transformers.AutoConfig.from_pretrained(str(tmp_path / "out"))
    assert (config.pad_token_id, config.label2id) == (0, {"bad": 0, "good": 1})

  def test_refuses_a_folder_with_files(self, workdir, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("x")
    with pytest.raises(InputError, match="not empty"):
      export_huggingface(workdir, str(tmp_path / "out"))
    assert os.listdir(tmp_path / "out") == ["thesis.tex"]

  def test_nothing_half_written(self, workdir, tmp_path, monkeypatch):
    monkeypatch.setattr("safetensors.numpy.save_file", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
      export_huggingface(workdir, str(tmp_path / "out"))
    assert os.listdir(tmp_path) == ["run"]

  def test_missing_step(self, workdir, tmp_path):
    with pytest.raises(InputError, match="no checkpoint of step 7"):
      export_huggingface(workdir, str(tmp_path / "out"), step=7)

  def test_labels_must_fit_the_classifier(self, tmp_path):
    model = MODEL | {"sharing": {"attn": "all", "ffn": "all"}}
    params = make_params(model, "pooler", "classifier", outputs=3)
    workdir = make_workdir(tmp_path / "run", model, params, "classify", labels=("bad", "good"))
    with pytest.raises(InputError, match="2 names, the classifier 3 outputs"):
      export_huggingface(workdir, str(tmp_path / "out"))
