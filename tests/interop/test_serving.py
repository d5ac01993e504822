import jax
import numpy as np
import onnxruntime
import pytest

from albert_jax.data.tokenizers.hf_folder import save_tokenizer
from albert_jax.data.tokenizers.registry import load_tokenizer
from albert_jax.errors import InputError
from albert_jax.interop.onnx_graph import write_onnx
from albert_jax.interop.serving import INPUTS, export_serving
from albert_jax.interop.stablehlo import write_stablehlo
from albert_jax.models.param import path_name
from tests.interop.conftest import assert_close, make_ours, make_workdir
from tests.interop.test_export import DEPTH, MODEL, make_params

SHARED = {"attn": "all", "ffn": "all"}
HEADS = [
  # task, parts, E, activation, sharing, depth
  ("pretrain", ("mlm", "pooler", "pair"), 12, "gelu", SHARED, {}),
  ("pretrain", ("mlm",), 24, "gelu_tanh", {"attn": "none", "ffn": "cycle:2", "norm": "none", "key": "cycle:3"}, {}),
  ("pretrain", (), 12, "relu", {"attn": "all", "ffn": "none", "bias": "loop:1-2-1"}, DEPTH),
  ("classify", ("pooler", "classifier"), 24, "gelu", SHARED, dict(DEPTH, embedding="sinusoid", residual="learned")),
  ("choice", ("pooler", "classifier"), 12, "gelu", {"attn": "none", "ffn": "none"}, {}),
  ("span", ("span",), 12, "gelu", SHARED, {}),
]


def make_inputs(batch: int, length: int) -> dict[str, np.ndarray]:
  """Rows with padding, of one token and of all."""
  random = np.random.default_rng(length)
  mask = np.arange(length) < np.maximum(1, length - 3 * np.arange(batch)[:, None])
  ids, types = (random.integers(0, top, (batch, length)) for top in (37, 3))
  return dict(zip(INPUTS, (ids * mask, types * mask, mask.astype(np.int64))))


def centred(params: dict) -> dict:
  """Weights around 0 and scales around 1: with others, layers soon make all positions one, whatever they attend to."""
  return jax.tree_util.tree_map_with_path(lambda path, w: w + 0.7 if "scale" in path_name(path) else w - 0.3, params)


@pytest.fixture(params=HEADS, ids=lambda case: f"{case[0]} {len(case[1])}")
def exported(request, tmp_path):
  """(workdir, the record of its model, its parameters, its task)."""
  task, parts, embedding, activation, sharing, depth = request.param
  model = MODEL | {"embedding": embedding, "activation": activation, "sharing": sharing}
  model |= {"depth": depth} if depth else {}
  params = centred(make_params(model, *parts, outputs=1 if task == "choice" else 3))
  return make_workdir(tmp_path / "run", model, params, task), model, params, task


def expected(model: dict, params: dict, task: str, inputs: dict) -> dict:
  """The outputs by our models of training."""
  ids, types, mask = inputs.values()
  rows = {"tokens": ids, "token_type_ids": types, "example_ids": mask}
  rows["positions"] = rows["mlm_positions"] = np.broadcast_to(np.arange(ids.shape[1]), ids.shape)
  rows["cls_positions"] = np.zeros((len(ids), 1), np.int32)
  if task == "span":
    return dict(zip(("start_logits", "end_logits"), make_ours(model, "span")(params, rows)))
  if "classifier" in params:
    return {"logits": make_ours(model, "classify", outputs=params["classifier"]["bias"].size)(params, rows)}
  if "mlm" not in params:
    return {}
  logits, pair = make_ours(model, "pretrain", pair="pair" in params)(params, rows)
  return {"mlm_logits": logits} | ({} if pair is None else {"pair_logits": pair[:, 0]})


def check(exported, run, names) -> None:
  """Compares what `run` gives for several shapes with our models."""
  _, model, params, task = exported
  for shape in ((1, 1), (3, 16), (2, 7)):
    inputs = make_inputs(*shape)
    found, real = run(inputs), inputs["attention_mask"] > 0
    wanted = expected(model, params, task, inputs)
    assert set(names) == {*wanted, "last_hidden_state"}
    assert found["last_hidden_state"].shape == (*shape, 24)
    for name, array in wanted.items():
      pair = (found[name], np.asarray(array))
      assert_close(*(x[real] if x.shape[:2] == shape and "pair" not in name else x for x in pair), 1e-5)


def test_onnx(exported, tmp_path):
  export_serving(exported[0], str(tmp_path / "out"), write_onnx)
  session = onnxruntime.InferenceSession(tmp_path / "out" / "model.onnx")
  names = [output.name for output in session.get_outputs()]
  check(exported, lambda inputs: dict(zip(names, session.run(None, inputs))), names)


def test_stablehlo(exported, tmp_path):
  export_serving(exported[0], str(tmp_path / "out"), write_stablehlo)
  function = jax.export.deserialize(bytearray((tmp_path / "out" / "model.jax_export").read_bytes()))
  assert function.platforms == ("cpu", "cuda", "tpu")

  def run(inputs):
    return function.call(*(ids.astype(np.int32) for ids in inputs.values()))

  check(exported, run, run(make_inputs(1, 1)))


def test_shared_weights_are_stored_once(tmp_path):
  sizes = {}
  for layers in (2, 6):
    model = MODEL | {"sharing": SHARED, "layers": layers}
    workdir = make_workdir(tmp_path / f"run{layers}", model, make_params(model), "pretrain")
    export_serving(workdir, str(tmp_path / f"out{layers}"), write_onnx)
    sizes[layers] = (tmp_path / f"out{layers}" / "model.onnx").stat().st_size
  layer = 4 * (4 * 24 * 24 + 2 * 24 * 20)
  assert sizes[6] - sizes[2] < layer  # the nodes of four layers, but the weights of none


def test_a_folder_that_is_not_empty(tmp_path):
  model = MODEL | {"sharing": SHARED}
  workdir = make_workdir(tmp_path / "run", model, make_params(model), "pretrain")
  with pytest.raises(InputError, match="is not empty"):
    export_serving(workdir, workdir, write_onnx)


@pytest.mark.parametrize(("write", "file"), [(write_onnx, "model.onnx"), (write_stablehlo, "model.jax_export")])
def test_the_tokenizer_comes_along(write, file, tmp_path):
  model = MODEL | {"sharing": SHARED}
  workdir = make_workdir(tmp_path / "run", model, make_params(model), "pretrain")
  vocabulary = tmp_path / "vocab.txt"
  vocabulary.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abc"]))
  save_tokenizer(load_tokenizer(str(vocabulary)), f"{workdir}/tokenizer")
  export_serving(workdir, str(tmp_path / "out"), write)
  assert (tmp_path / "out" / file).is_file()
  assert load_tokenizer(str(tmp_path / "out")).encode("ab") == load_tokenizer(str(vocabulary)).encode("ab")
