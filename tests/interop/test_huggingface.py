import json
import shutil

import numpy as np
import pytest
import safetensors.numpy
import torch

from albert_jax.interop.huggingface import read_huggingface
from albert_jax.models.sharing import make_table
from tests.interop.conftest import assert_equal, change, fails, make_torch, set_fields


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
  """A BERT and an ALBERT for pretraining."""
  folder = tmp_path_factory.mktemp("saved")
  for name in ("BertForPreTraining", "AlbertForPreTraining", "BertForSequenceClassification"):
    make_torch(name).save_pretrained(folder / name)
  return folder


@pytest.fixture
def bert(saved, tmp_path):
  return shutil.copytree(saved / "BertForPreTraining", tmp_path / "bert")


@pytest.fixture
def albert(saved, tmp_path):
  return shutil.copytree(saved / "AlbertForPreTraining", tmp_path / "albert")


@pytest.fixture
def classifier(saved, tmp_path):
  return shutil.copytree(saved / "BertForSequenceClassification", tmp_path / "classifier")


class TestConfig:
  @pytest.mark.parametrize(
    ("fields", "message"),
    [
      ({"model_type": "roberta"}, "model_type is 'roberta'; only albert and bert"),
      ({"layer_norm_eps": 1e-5}, "layer_norm_eps is 1e-05; our LayerNorms add 1e-12"),
      ({"position_embedding_type": "relative_key"}, "position_embedding_type is 'relative_key'; only 'absolute'"),
      ({"is_decoder": True}, "is_decoder is True"),
      ({"add_cross_attention": True}, "add_cross_attention is True"),
      ({"pruned_heads": {"1": [0]}}, "pruned_heads"),
      ({"quantization_config": {"bits": 4}}, "quantization_config is .* only models without it"),
      ({"auto_map": {"AutoModel": "code.Model"}}, "auto_map"),
      ({"tie_word_embeddings": False}, "tie_word_embeddings is False"),
      ({"hidden_act": "silu"}, 'Unknown hidden_act in .* "silu"'),
      ({"hidden_act": ["gelu"]}, "hidden_act is a list, not text"),
      ({"hidden_size": "24"}, 'hidden_size is "24", not a whole number'),
      ({"num_hidden_layers": 0}, "num_hidden_layers is 0"),
      ({"hidden_dropout_prob": 1.5}, "hidden_dropout_prob is 1.5"),
    ],
  )
  def test_what_ours_do_not_follow_is_refused(self, bert, fields, message):
    set_fields(bert, **fields)
    fails(bert, message)

  def test_harmless_fields_pass(self, bert):
    before = read_huggingface(str(bert))
    more = dict(position_embedding_type="absolute", pooler_type="first_token_transform", _name_or_path="x")
    set_fields(bert, gradient_checkpointing=False, chunk_size_feed_forward=8, architectures=["Nonsense"], **more)
    assert_equal(read_huggingface(str(bert)).params, before.params)

  def test_absent_fields_are_what_transformers_takes(self, bert):
    fields = json.loads((bert / "config.json").read_text())
    for name in ("hidden_act", "layer_norm_eps", "hidden_dropout_prob", "classifier_dropout"):
      del fields[name]
    (bert / "config.json").write_text(json.dumps(fields))
    model = read_huggingface(str(bert)).model
    assert (model["activation"], model["dropout"], model["classifier_dropout"]) == ("gelu", 0.1, 0.1)

  @pytest.mark.parametrize(("layers", "groups", "inner"), [(5, 3, 1), (2, 2, 2), (7, 1, 2), (6, 4, 1), (3, 2, 3)])
  def test_sharing_table_is_the_order_in_which_transformers_runs_layers(self, layers, groups, inner, tmp_path):
    sizes = dict(num_hidden_layers=layers, num_hidden_groups=groups, inner_group_num=inner)
    theirs = make_torch("AlbertModel", **sizes)
    theirs.save_pretrained(tmp_path)
    run = []
    for number, group in enumerate(theirs.encoder.albert_layer_groups):
      for i, layer in enumerate(group.albert_layers):
        layer.register_forward_hook(lambda *_, group=number * inner + i: run.append(group))
    theirs(torch.tensor([[1, 2, 3]]))
    model = read_huggingface(str(tmp_path)).model
    assert list(make_table(model["sharing"]["attn"], model["layers"])) == run
    assert model["sharing"]["ffn"] == model["sharing"]["attn"]

  @pytest.mark.parametrize(("groups", "scheme"), [(1, "all"), (4, "none"), (2, "groups:2")])
  def test_schemes_have_their_names(self, groups, scheme, tmp_path):
    make_torch("AlbertModel", num_hidden_groups=groups).save_pretrained(tmp_path)
    assert read_huggingface(str(tmp_path)).model["sharing"] == {"attn": scheme, "ffn": scheme}

  def test_more_groups_than_layers(self, albert):
    set_fields(albert, num_hidden_groups=5)
    fails(albert, "num_hidden_groups 5 is more than num_hidden_layers 4")

  def test_labels(self, classifier):
    set_fields(classifier, id2label={"1": "good", "0": "bad"})
    assert read_huggingface(str(classifier)).labels == ("bad", "good")
    set_fields(classifier, id2label={"0": "bad"})
    fails(classifier, "outputs 0 … 1, it is {'0': 'bad'}")
    set_fields(classifier, id2label=["bad", "good"])
    fails(classifier, "id2label is a list, not an object")
    set_fields(classifier, id2label={"0": "bad", "1": 3})
    fails(classifier, "id2label.1 is 3, not text")
    set_fields(classifier, id2label={"0": "good", "1": "good"})
    fails(classifier, "two outputs the same name")
    set_fields(classifier, problem_type="multi_label_classification")
    fails(classifier, "multi_label_classification")

  def test_not_json(self, bert):
    (bert / "config.json").write_text("{")
    fails(bert, "config.json is damaged: it is not JSON")
    (bert / "config.json").write_text("[]")
    fails(bert, "it is a list, not an object")
    (bert / "config.json").unlink()
    fails(bert, "cannot be read")


class TestTensors:
  def test_missing_unexpected_and_misshapen_are_listed_together(self, bert):
    def damage(tensors):
      del tensors["bert.encoder.layer.1.output.dense.bias"]
      tensors["bert.encoder.layer.9.output.dense.bias"] = np.zeros(24, np.float32)
      tensors["bert.pooler.dense.bias"] = np.zeros(7, np.float32)

    change(bert, damage)
    fails(
      bert, "layer.1.output.dense.bias.* is missing; .*layer.9.output.dense.bias.* is unexpected; pooler.dense.bias"
    )

  def test_many_problems_are_counted(self, bert):
    set_fields(bert, num_hidden_layers=3)
    fails(bert, "is unexpected; and 6 more")

  def test_token_classification_is_refused(self, tmp_path):
    make_torch("BertForTokenClassification").save_pretrained(tmp_path)
    fails(tmp_path, "labels every token")

  def test_a_copy_of_tied_tensors_must_equal_them(self, bert):
    before = read_huggingface(str(bert)).params

    def copy(tensors):
      tensors["cls.predictions.decoder.weight"] = tensors["bert.embeddings.word_embeddings.weight"].copy()
      tensors["cls.predictions.decoder.bias"] = tensors["cls.predictions.bias"].copy()
      del tensors["cls.predictions.bias"]  # one of the two is enough

    change(bert, copy)
    assert_equal(read_huggingface(str(bert)).params, before)
    change(bert, lambda tensors: tensors["cls.predictions.decoder.weight"].__setitem__((3, 3), 0))
    fails(bert, "decoder.weight and embeddings.word_embeddings.weight differ")

  def test_old_names_and_buffers(self, bert):
    before = read_huggingface(str(bert)).params

    def age(tensors):
      for name in [name for name in tensors if ".LayerNorm." in name]:
        tensors[name.replace("weight", "gamma").replace("bias", "beta")] = tensors.pop(name)
      tensors["bert.embeddings.position_ids"] = np.arange(16)[None]

    change(bert, age)
    assert_equal(read_huggingface(str(bert)).params, before)

  def test_the_same_tensor_twice(self, bert):
    change(bert, lambda tensors: tensors.update({"pooler.dense.bias": tensors["bert.pooler.dense.bias"].copy()}))
    fails(bert, "twice")

  @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
  def test_half_precision_becomes_float32(self, dtype, tmp_path, capsys):
    theirs = make_torch("BertForMaskedLM").to(dtype)
    theirs.save_pretrained(tmp_path)
    bias = read_huggingface(str(tmp_path)).params["mlm"]["bias"]
    assert bias.dtype == np.float32
    np.testing.assert_array_equal(bias, theirs.cls.predictions.bias.detach().float().numpy())
    assert "became float32" in capsys.readouterr().err

  def test_integers_are_refused(self, bert):
    change(bert, lambda tensors: tensors.update({"bert.pooler.dense.bias": np.zeros(24, np.int64)}))
    fails(bert, "bert.pooler.dense.bias is I64")


class TestFiles:
  @pytest.fixture
  def sharded(self, bert):
    tensors = safetensors.numpy.load_file(bert / "model.safetensors")
    (bert / "model.safetensors").unlink()
    names = sorted(tensors)
    files = {f"model-0000{number}-of-00002.safetensors": names[number - 1 :: 2] for number in (1, 2)}
    for file, own in files.items():
      safetensors.numpy.save_file({name: tensors[name] for name in own}, bert / file)
    weight_map = {name: file for file, own in files.items() for name in own}
    (bert / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return bert

  def set_file(self, folder, file: str) -> None:
    index = folder / "model.safetensors.index.json"
    content = json.loads(index.read_text())
    content["weight_map"]["bert.pooler.dense.bias"] = file
    index.write_text(json.dumps(content))

  def test_shards(self, sharded, saved):
    whole = read_huggingface(str(saved / "BertForPreTraining"))
    assert_equal(read_huggingface(str(sharded)).params, whole.params)

  def test_missing_shard(self, sharded):
    (sharded / "model-00002-of-00002.safetensors").unlink()
    fails(sharded, "lacks model-00002-of-00002.safetensors")

  def test_shard_without_its_tensor(self, sharded):
    names = json.loads((sharded / "model.safetensors.index.json").read_text())["weight_map"]
    other = {"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"} - {names["bert.pooler.dense.bias"]}
    self.set_file(sharded, other.pop())
    fails(sharded, "lacks bert.pooler.dense.bias")

  @pytest.mark.parametrize("file", ["../outside.safetensors", "/etc/passwd", "..", "", "a/b", "a\\b", "a\0b"])
  def test_index_may_not_lead_out_of_the_folder(self, sharded, file):
    shutil.copy(sharded / "model-00001-of-00002.safetensors", sharded.parent / "outside.safetensors")
    self.set_file(sharded, file)
    fails(sharded, "which is not in that folder")

  def test_links_of_shards(self, sharded, tmp_path):
    shard = "model-00001-of-00002.safetensors"
    shutil.move(sharded / shard, tmp_path / "outside.safetensors")
    (sharded / shard).symlink_to(tmp_path / "outside.safetensors")
    fails(sharded, "which is not in that folder")
    # as in Hugging Face's cache
    cache = tmp_path / "models--x" / "snapshots" / "0123"
    shutil.copytree(sharded, cache, symlinks=True)
    (cache / shard).unlink()
    (tmp_path / "models--x" / "blobs").mkdir()
    shutil.copy(tmp_path / "outside.safetensors", tmp_path / "models--x" / "blobs" / "aa")
    (cache / shard).symlink_to("../../blobs/aa")
    assert read_huggingface(str(cache)).head == "pretrain"

  def test_link_of_the_one_file(self, bert, tmp_path):
    shutil.move(bert / "model.safetensors", tmp_path / "model.safetensors")
    (bert / "model.safetensors").symlink_to(tmp_path / "model.safetensors")
    fails(bert, "is a link to a file which is not in that folder")

  @pytest.mark.parametrize("index", ["{}", '{"weight_map": {"a": 1}}', '{"weight_map": []}'])
  def test_index_without_a_map(self, sharded, index):
    (sharded / "model.safetensors.index.json").write_text(index)
    fails(sharded, "index.json is damaged: .*weight_map")

  @pytest.mark.parametrize("content", [b"", b"\xff" * 100, b"\x10\0\0\0\0\0\0\0{}"])
  def test_damaged_file(self, bert, content):
    (bert / "model.safetensors").write_bytes(content)
    fails(bert, "model.safetensors is no safetensors file, or a damaged one")

  def test_truncated_file(self, bert):
    content = (bert / "model.safetensors").read_bytes()
    (bert / "model.safetensors").write_bytes(content[:-1])
    fails(bert, "damaged")

  @pytest.mark.parametrize("file", ["pytorch_model.bin", "tf_model.h5", "flax_model.msgpack"])
  def test_other_formats_are_not_opened(self, bert, file):
    (bert / "model.safetensors").rename(bert / file)
    fails(bert, f"{file} is not read.*save_pretrained")


class TestValues:
  def test_names_and_shapes_are_compared_before_a_tensor_is_read(self, bert, monkeypatch):
    """A file of another model is refused by its header, however large it is."""
    set_fields(bert, intermediate_size=21)
    monkeypatch.setattr("albert_jax.interop.huggingface.read_tensors", lambda headers: pytest.fail("tensors were read"))
    fails(bert, r"intermediate.dense.bias is \[20\], config.json asks for \[21\]")

  @pytest.mark.parametrize("name", ["num_hidden_layers", "inner_group_num", "num_hidden_groups"])
  def test_sizes_that_would_fill_the_memory_are_refused(self, albert, name):
    set_fields(albert, **{name: 10**9})
    fails(albert, name)

  def test_weights_that_are_not_finite_are_named(self, bert):
    def spoil(tensors):
      tensors["bert.pooler.dense.bias"] = np.full_like(tensors["bert.pooler.dense.bias"], np.nan)

    change(bert, spoil)
    fails(bert, "pooler.dense.bias holds values that are not finite")

  def test_both_the_missing_and_the_unexpected_names_are_shown(self, bert):
    def wrap(tensors):
      for name in [*tensors]:
        tensors[f"module.{name}"] = tensors.pop(name)

    change(bert, wrap)
    fails(bert, r" is missing.*module\.\S+ \[.*is unexpected")
