import jax
import jax.numpy as jnp
import numpy as np
import pytest

from albert_jax.data.finetuning.types import LabelledTexts, Splits
from albert_jax.errors import InputError
from albert_jax.tasks import make_task, resolve
from albert_jax.tasks.classify import describe_classes

LOGITS = np.array([[2.0, 0.0], [0.0, 1.0], [5.0, 5.5]], np.float32)


def with_logits(task, logits_BC):
  """The task, its model replaced by known logits."""
  task.apply = lambda params, batch, rng: jnp.asarray(logits_BC)
  return task


def batch_of(labels, weights, dtype=np.int32):
  example_ids_BT = np.array([[1, 1], [1, 0], [0, 0]], np.int32)
  return {"example_ids": example_ids_BT, "labels": np.array(labels, dtype), "weights": np.array(weights, np.float32)}


def means(terms):
  return {name: float(total / weight) for name, (total, weight) in terms.items()}


def test_cross_entropy_leaves_empty_rows_out(make_config):
  task = with_logits(make_task(make_config("glue", "sst2")), LOGITS)
  batch = batch_of([0, 0, 0], [1, 1, 0])
  terms, outputs = task.forward({}, batch, None)
  expected = (np.log1p(np.exp(-2.0)) + np.log1p(np.exp(1.0))) / 2
  assert means(terms) == pytest.approx(
    {"loss": expected, "accuracy": 0.5, "fill": 0.75}
  )  # of two rows that are not empty
  assert task.loss_weights(batch) == {"loss": 2}
  np.testing.assert_array_equal(outputs["logits"], LOGITS)
  np.testing.assert_array_equal(outputs["labels"], [0, 0, 0])


def test_a_regression_has_squared_error(make_config):
  task = with_logits(make_task(make_config("glue", "stsb")), LOGITS[:, :1])
  terms, _ = task.forward({}, batch_of([1.0, 3.0, 9.0], [1, 1, 0], np.float32), None)
  assert means(terms) == pytest.approx({"loss": (1 + 9) / 2, "fill": 0.75})


def test_a_batch_without_labels_has_outputs_only(make_config):
  task = with_logits(make_task(make_config("glue", "sst2")), LOGITS)
  terms, outputs = task.forward({}, {"example_ids": np.ones((3, 2))}, None)
  assert (list(terms), list(outputs)) == (["fill"], ["logits"])


@pytest.mark.parametrize(("name", "arguments"), [("glue", "mnli"), ("glue", "stsb"), ("race", "")])
def test_rows_have_the_shapes_that_the_task_says(make_config, name, arguments):
  config = make_config(name, arguments)
  task = make_task(config)
  batch, specs = task.load_data().train.batch(0, 8), task.batch_specs(8)
  assert list(batch) == list(specs)
  assert {key: (array.shape, array.dtype) for key, array in batch.items()} == {
    key: (spec.shape, spec.dtype) for key, spec in specs.items()
  }
  logits = jax.eval_shape(lambda: task.forward(task.init(jax.random.key(0)), batch, None)[1]["logits"])
  assert logits.shape == (8, len(config.data.labels) or 1)
  assert logits.dtype == jnp.float32


def test_data_are_read_once_and_have_a_fingerprint(make_config):
  task = make_task(make_config("glue", "sst2"))
  data = task.load_data()
  assert task.load_data() is data
  assert list(data.evaluations) == ["valid"]
  assert list(data.unlabelled) == ["test"]
  assert "labels" not in data.unlabelled["test"].batch(0, 2)
  assert make_task(make_config("glue", "sst2")).load_data().fingerprint == data.fingerprint
  assert make_task(make_config("glue", "sst2", {"data.max_length": 8})).load_data().fingerprint != data.fingerprint
  assert make_task(make_config("glue", "stsb")).load_data().fingerprint != data.fingerprint


def test_truncation_is_told(make_config, capsys):
  make_task(make_config("glue", "sst2", {"data.max_length": 8})).load_data()
  assert "texts cut to 8 tokens" in capsys.readouterr().err


def test_scores_of_classes_and_numbers(make_config):
  outputs = {"logits": list(LOGITS), "labels": [np.int32(0), np.int32(0), np.int32(1)]}
  assert make_task(make_config("glue", "mrpc")).scores("valid", outputs) == pytest.approx(
    {"accuracy": 2 / 3, "f1": 2 / 3}
  )
  outputs = {"logits": list(LOGITS[:, :1]), "labels": list(np.float32([2, 0, 5]))}
  assert make_task(make_config("glue", "stsb")).scores("valid", outputs) == pytest.approx({"pearson": 1, "spearman": 1})


@pytest.mark.parametrize(
  ("name", "arguments", "split", "file", "predictions"),
  [
    ("glue", "sst2", "test", "SST-2.tsv", ["0", "1", "1"]),
    ("glue", "rte", "test", "RTE.tsv", ["entailment", "not_entailment", "not_entailment"]),
    ("glue", "mnli", "test_mismatched", "MNLI-mm.tsv", ["entailment", "neutral", "neutral"]),
    ("glue", "stsb", "test", "STS-B.tsv", ["2.000", "0.000", "5.000"]),
    ("glue", "sst2", "valid", "SST-2-valid.tsv", ["0", "1", "1"]),
    ("text_classification", "", "test", "test.tsv", ["bad", "good", "good"]),
    ("text_classification", "regression", "test", "test.tsv", ["2.000", "-0.125", "5.250"]),
  ],
)
def test_files_to_submit(make_config, tmp_path, name, arguments, split, file, predictions):
  task = make_task(make_config(name, arguments))
  logits = LOGITS if task.labels else np.float32([[2], [-0.125], [5.25]])
  (path,) = task.write_predictions(split, {"logits": list(logits)}, tmp_path / "new")
  assert path == tmp_path / "new" / file
  lines = path.read_text().splitlines()
  assert lines == ["index\tprediction", *(f"{i}\t{value}" for i, value in enumerate(predictions))]
  assert list(path.parent.iterdir()) == [path]


def test_labels_are_found_in_the_data(make_config):
  assert make_config("text_classification").data.labels == ("bad", "good")
  assert make_config("text_classification", "regression").data.labels == ()
  assert make_config("text_classification", "", {"data.labels": ("good", "bad")}).data.labels == ("good", "bad")


@pytest.mark.parametrize(
  ("values", "message"),
  [
    ({"data.tokenizer": ""}, r"No tokenizer: start from a model that has one"),
    ({"data.max_length": 65}, r"data\.max_length 65 is more than model\.positions 64"),
    ({"data.metrics": ("acc",)}, r'Unknown score in data\.metrics "acc"'),
    ({"data.regression": True}, r"data\.regression is True and data\.labels is \('0', '1'\)"),
    ({"data.labels": ("0", "1", "0")}, r"data\.labels names a class twice: 0, 1, 0"),
    ({"data.source": "gleu:sst2"}, r'Unknown data\.source "gleu:sst2"'),
    ({"data.length_multiple": 0}, r"data\.length_multiple must be at least 1"),
    ({"model.vocab_size": 119}, r"has 120 pieces, but model\.vocab_size is 119: take the tokenizer that the model"),
    ({"data.dir": ""}, r"--config\.data\.dir=DIR"),
  ],
)
def test_mistakes_are_named(make_config, monkeypatch, values, message):
  def unreachable(name):
    raise InputError("TFDS cannot prepare it.")

  monkeypatch.setattr("albert_jax.data.finetuning.tfds.open_builder", unreachable)
  with pytest.raises(InputError, match=message):
    make_task(make_config("glue", "sst2", values)).load_data()


def test_a_classification_needs_its_labels(make_config):
  config = make_config("text_classification", "", {"data.labels": ("a", "b")})
  config.data.labels = ()
  with pytest.raises(InputError, match=r"data\.regression is False and data\.labels is \(\)"):
    make_task(config)
  resolve(config, None)
  assert make_task(config).labels == ("bad", "good")


def test_the_classes_are_shown_with_their_counts(make_config, capsys):
  make_task(make_config("glue", "sst2")).load_data()
  shown = [line for line in capsys.readouterr().err.splitlines() if "classes" in line]
  assert len(shown) == 1
  zeros, ones = (int(part.split()[-1]) for part in shown[0].split(": ")[-1].split(", "))
  assert zeros + ones == 640
  assert describe_classes(("no", "yes", "maybe"), np.array([1, 0, 1])) == "3 classes: no 1, yes 2, maybe 0"
  many = describe_classes([f"c{i}" for i in range(150)], np.repeat(np.arange(150), np.arange(1, 151)))
  assert many == "150 classes: " + ", ".join(f"c{i} {i + 1}" for i in range(149, 141, -1)) + (
    " and 142 more, the smallest with 1"
  )


@pytest.mark.parametrize("label", [-1, 2])
def test_a_label_that_is_no_class_never_reaches_the_devices(make_config, monkeypatch, label):
  """As TFDS marks what has no label."""
  texts = LabelledTexts(["a", "b"], None, np.array([0, 1], np.int32))
  wrong = LabelledTexts(["a"], None, np.array([label], np.int32))
  task, splits = make_task(make_config("glue", "sst2")), Splits(texts, {"valid": wrong}, {})
  monkeypatch.setattr("albert_jax.data.finetuning.glue.GlueFiles.read", lambda self: splits)
  with pytest.raises(InputError, match=f"valid: an example has the class {label}"):
    task.load_data()
