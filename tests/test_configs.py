"""Every pretraining config × argument, end to end, with shapes only: nothing is compiled or computed."""

import importlib
import json
from pathlib import Path

import jax
import pytest

from albert_jax.commands.dry_run import dry_run
from albert_jax.errors import InputError
from albert_jax.tasks import make_task
from albert_jax.tools.planning.flops import matmul_flops
from albert_jax.training.program import make_program
from tests.builders import ROOT, override

RECURRENT = ("gru_mini", "lstm_mini")
NAMES = [*sorted(path.stem for path in Path(ROOT, "configs").glob("*bert_*.py")), *RECURRENT]
ARGUMENTS = {"albert": ("", "test", "version=2", "test,version=2"), "bert": ("", "test", "phase=2", "test,phase=2")}
OWN = ("albert_tiny", "albert_mini", *RECURRENT)  # not published: no versions
CASES = [(n, a) for n in NAMES for a in (("", "test") if n in OWN else ARGUMENTS[n.split("_")[0]])]
PARAMS = {
  "albert_base": 11_813_810,
  "albert_large": 17_847_474,
  "albert_xlarge": 59_021_490,
  "albert_xxlarge": 223_158_450,
  "bert_tiny": 4_433_468,
  "bert_mini": 11_267_900,
  "bert_small": 29_058_876,
  "bert_medium": 41_668_412,
  "bert_base": 110_106_428,
  "bert_large": 336_226_108,
  "lstm_mini": 11_657_276,
  "gru_mini": 11_794_236,
}


def get_config(name: str, arguments: str = ""):
  return importlib.import_module(f"configs.{name}").get_config(arguments)


def describe(config, devices=None) -> dict:
  program = make_program(config, make_task(config), devices)
  return json.loads(dry_run(program).splitlines()[-1])


@pytest.mark.parametrize(("name", "arguments"), CASES)
def test_every_config_traces(name, arguments):
  config = get_config(name, arguments)
  program = make_program(config, make_task(config))
  specs = program.task.batch_specs(config.train.batch_size)
  traced = program.train_step.trace(program.state, specs, program.hyper)
  state, terms = traced.out_info
  assert jax.tree.map(lambda x: (x.shape, x.dtype), state) == jax.tree.map(lambda x: (x.shape, x.dtype), program.state)
  assert {*program.task.losses, "grad_norm", "learning_rate", "fill"} <= set(terms)
  evaluated, _ = jax.eval_shape(program.eval_step, program.state.params, specs)
  assert set(program.task.losses) <= set(evaluated)
  if "test" in arguments:
    assert config.train.steps < 10
    assert config.name.endswith("_test")
  else:  # the step multiplies no more than the formula of MFU counts, but for pooler and pair head
    formula = program.task.flops_per_token() * specs["tokens"].size
    assert 1 <= matmul_flops(traced.jaxpr.jaxpr) / formula < 1.03


@pytest.mark.parametrize("name", PARAMS)
def test_dry_run_counts_the_published_sizes(name):
  record = describe(get_config(name))
  assert record["params"] == PARAMS[name]
  assert sum(record["params_by_part"].values()) == PARAMS[name]


def test_dry_run_divides_memory_over_the_mesh():
  config = get_config("albert_base")
  alone, eight = describe(config, jax.devices()[:1]), None
  eight = describe(override(config, {"mesh.data": 1, "mesh.fsdp": 4, "mesh.tensor": 2}))
  assert eight["mesh"] == {"data": 1, "fsdp": 4, "tensor": 2}
  assert alone["bytes_per_device"] == pytest.approx(16 * PARAMS["albert_base"], rel=1e-4)  # parameters ×4, float32
  assert eight["bytes_per_device"] == pytest.approx(alone["bytes_per_device"] / 8, rel=0.1)
  assert alone["flops_per_token"] == eight["flops_per_token"]


@pytest.mark.parametrize(
  ("override_values", "message"),
  [
    ({"model.sharing.attn": "cycel:3"}, 'Did you mean "cycle"'),
    ({"task": "pretrian"}, 'Did you mean "pretrain"'),
    ({"model.dtype": "float23"}, 'Did you mean "float32"'),
    ({"model.positions": 64}, "data.max_length 512 is more than model.positions 64"),
    ({"mesh.fsdp": 3}, "does not fit"),
    ({"data.pair_objective": "spo"}, 'Did you mean "sop"'),
    ({"optimizer.warmup_steps": 200_000}, "optimizer.warmup_steps"),
    ({"train.microbatches": 0}, "train.microbatches must be at least 1"),
    ({"checkpoint.keep": 0}, "checkpoint.keep must be at least 1"),
    ({"eval.every": -1}, "eval.every"),
    ({"train.batch_size": 12}, "multiple of 8"),
    ({"model.attention": "flash"}, "Unknown model.attention"),
    ({"model.attention": "cudnn"}, r'model.attention "cudnn" needs a GPU \(this is a CPU\)'),
    ({"model.attention": "splash"}, "needs model.attention_dropout 0"),
    ({"train.compiler_options": "fast"}, "train.compiler_options"),
  ],
)
def test_mistakes_are_named_before_anything_is_compiled(override_values, message):
  with pytest.raises(InputError, match=message):
    describe(override(get_config("albert_base"), override_values))


@pytest.mark.parametrize(
  ("name", "arguments", "message"),
  [
    ("albert_base", "tset", 'Did you mean "test"'),
    ("albert_base", "version=3", "versions 1 and 2"),
    ("albert_base", "version=two", "type int"),
    ("albert_base", "version", "type int"),
    ("bert_base", "phase=0", "phases 1 and 2"),
    ("albert_tiny", "test=maybe", "type bool"),
  ],
)
def test_bad_arguments_are_named(name, arguments, message):
  with pytest.raises(InputError, match=message):
    get_config(name, arguments)


def test_recipes_of_the_papers():
  albert, second = get_config("albert_large"), get_config("albert_large", "version=2")
  assert (albert.model.dropout, second.model.dropout) == (0.1, 0.0)
  assert (albert.train.steps, second.train.steps) == (125_000, 3_000_000)
  assert get_config("albert_xxlarge").model.dropout == 0
  first, last = get_config("bert_base"), get_config("bert_base", "phase=2")
  assert (first.data.max_length, last.data.max_length) == (128, 512)
  assert first.train.steps + last.train.steps == 1_000_000
  assert first.optimizer.learning_rate * first.optimizer.floor == pytest.approx(last.optimizer.learning_rate)


def test_a_config_is_locked():
  with pytest.raises(AttributeError, match="Did you mean"):
    get_config("albert_base").model.droput = 0.2
