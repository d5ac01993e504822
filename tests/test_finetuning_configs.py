"""The configs of labelled texts: every argument traced, recipes, mistakes, and a run on the sample."""

import importlib

import jax
import pytest

from albert_jax.data.finetuning.glue import GLUE
from albert_jax.errors import InputError
from albert_jax.models.sizes import ALBERT
from albert_jax.tasks import make_task, resolve
from albert_jax.training.loop import train
from albert_jax.training.program import make_program
from tests.builders import override

CASES = [
  *(("glue", name) for name in GLUE),
  ("race", ""),
  ("text_classification", ""),
  ("text_classification", "regression"),
]


def get_config(name: str, arguments: str = ""):
  return importlib.import_module(f"configs.{name}").get_config(arguments)


@pytest.mark.parametrize(("name", "arguments"), CASES)
@pytest.mark.parametrize("test", [False, True])
def test_every_config_traces(name, arguments, test, tmp_path):
  config = get_config(name, ",".join(filter(None, (arguments, "test" if test else ""))))
  config.data.cache_dir = str(tmp_path)
  if test:
    resolve(config, None)
  else:  # as if started from ALBERT-base, with data at hand
    shape = {key: value for key, value in ALBERT["base"].items() if key != "dropout_v1"}
    config.model.update(
      **shape, positions=512, token_types=2, activation="gelu_tanh", sharing=dict(attn="all", ffn="all")
    )
    config.train.steps, config.eval.every = config.train.steps or 100, 10
    if name == "text_classification" and not arguments:
      config.data.labels = ("a", "b")
  program = make_program(config, make_task(config))
  specs = program.task.batch_specs(config.train.batch_size)
  _, terms = jax.eval_shape(program.train_step, program.state, specs, program.hyper)
  assert {"loss", "fill", "grad_norm"} <= set(terms)
  _, outputs = jax.eval_shape(program.eval_step, program.state.params, specs)
  assert set(outputs) == {"logits", "labels"}
  assert config.eval.metric in config.data.metrics
  assert config.name.endswith("_test") == test


def test_recipes_of_the_paper():
  config = get_config("glue", "RTE")  # in any case
  assert (config.name, config.train.steps, config.train.batch_size) == ("glue_rte", 800, 32)
  assert (config.optimizer.learning_rate, config.optimizer.warmup_steps) == (3e-5, 200)
  assert (config.model.dropout, config.model.classifier_dropout) == (0.1, 0.1)
  assert get_config("glue", "sst2").model.dropout == 0
  assert get_config("glue", "task=stsb").data.regression
  assert get_config("glue").name == "glue_sst2"
  assert get_config("race").data.max_length == 512


@pytest.mark.parametrize(
  ("name", "arguments", "message"),
  [
    ("glue", "sts-b", 'Did you mean "stsb"'),
    ("glue", "sst2,tset", 'Did you mean "test"'),
    ("race", "middle", 'Unknown config argument "middle"'),
    ("text_classification", "regresion", 'Did you mean "regression"'),
  ],
)
def test_bad_arguments_are_named(name, arguments, message):
  with pytest.raises(InputError, match=message):
    get_config(name, arguments)


def test_a_model_from_scratch_learns_the_sample(tmp_path):
  config = get_config("glue", "sst2,test")
  override(config, {"data.cache_dir": str(tmp_path / "cache"), "train.steps": 100, "eval.every": 100})
  resolve(config, None)
  results = train(make_program(config, make_task(config), jax.devices()[:1]), str(tmp_path / "run"))
  assert results["valid"]["accuracy"] > 0.9
