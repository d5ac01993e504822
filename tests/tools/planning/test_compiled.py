import jax
import pytest

from albert_jax.models.param import count
from albert_jax.tools.planning import compiled, hlo
from albert_jax.tools.planning.compiled import QUICK, Choice, TooLarge, compile_step
from albert_jax.training.program import make_program
from tests.builders import override

MEMORY = 1e9


def make_config():
  from configs import albert_tiny

  small = {"model.layers": 2, "model.layer_loop": "scan", "model.sharing.attn": "none", "model.sharing.ffn": "none"}
  return override(albert_tiny.get_config("test"), small)


@pytest.fixture
def config():
  return make_config()


@pytest.fixture(scope="module")
def steps():
  """The step for several choices, compiled once."""
  choices = {
    "plain": Choice(8, 1, 1, 1, "none"),
    "again": Choice(8, 1, 1, 2, "full"),
    "sharded": Choice(1, 8, 1, 1, "none"),
  }
  return {name: compile_step(make_config(), jax.devices(), MEMORY, choice, QUICK) for name, choice in choices.items()}


def test_flops_are_those_of_the_formula_and_of_what_is_computed_again(steps):
  plain, again = steps["plain"], steps["again"]
  assert plain.model_flops == again.model_flops
  assert 1 < plain.flops / plain.model_flops < 1.03  # the pooler and the pair head are not in the formula
  assert 1.2 < again.flops / plain.flops < 4 / 3


def test_data_parallelism_sends_the_gradients_once(steps):
  gradients = 2 * 7 / 8 * steps["plain"].memory["parameters"]
  assert steps["plain"].sent.keys() == {"all-reduce"}
  assert 0.9 * gradients < steps["plain"].sent["all-reduce"] < 2 * gradients


def test_memory_by_kind(steps, config):
  plain, sharded = steps["plain"].memory, steps["sharded"].memory
  program = make_program(config, compiled.make_task(config), jax.devices())
  assert plain["parameters"] == 4 * count(program.state.params)
  assert plain["optimizer"] == 2 * plain["parameters"] + 8  # two moments, two counters
  assert sharded["parameters"] < plain["parameters"] / 3
  assert all(size >= 0 for size in plain.values())


def test_input_and_state(steps, config):
  rows, length = config.train.batch_size, config.data.max_length
  assert steps["plain"].input_bytes > 4 * 4 * rows * length / 8
  assert steps["plain"].input_bytes == steps["sharded"].input_bytes
  assert steps["plain"].state_bytes == steps["sharded"].state_bytes > 3 * steps["plain"].memory["parameters"]


def test_the_config_stays_as_it_was(config):
  before = config.to_json()
  compiled._chosen(config, Choice(8, 1, 1, 4, "full"))
  assert config.to_json() == before


def test_auto_means_bfloat16(config):
  assert compiled._chosen(config, Choice(8, 1, 1, 1, "none")).model.dtype == "bfloat16"
  config.model.dtype = "float32"
  assert compiled._chosen(config, Choice(8, 1, 1, 1, "none")).model.dtype == "float32"


@pytest.mark.parametrize(
  "message",
  [
    "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required for HLO temporaries (153.50G) exceeds "
    "available HBM (15.75G).",
    "RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm. Used 153.50G of 15.75G hbm. Exceeded by 137.75G.",
  ],
)
def test_what_is_missing_is_read_from_the_compilers_complaint(message):
  assert compiled._memory_error(message) == (153.5 * 2**30, 15.75 * 2**30)


def test_a_step_that_does_not_fit_is_an_outcome_and_any_other_failure_is_not(config, monkeypatch):
  choice = Choice(8, 1, 1, 1, "none")

  def fail(self, options):
    raise RuntimeError(message)

  monkeypatch.setattr(jax.stages.Lowered, "compile", fail)
  message = "RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm. Used 2.00G of 1.00G hbm."
  assert compile_step(config, jax.devices(), MEMORY, choice, QUICK) == TooLarge(choice, 2 * 2**30, 2**30)
  message = "INTERNAL: a bug"
  with pytest.raises(RuntimeError, match="a bug"):
    compile_step(config, jax.devices(), MEMORY, choice, QUICK)


def test_what_the_compiler_sets_aside_must_fit_beside_the_arguments(config, steps):
  plain = steps["plain"]
  needed = sum(plain.memory.values())
  found = compile_step(config, jax.devices(), needed - 1, plain.choice, QUICK)
  assert found == TooLarge(plain.choice, needed, needed - 1)


def test_collectives_are_of_known_kinds(steps):
  assert all(collective.kind in hlo.COLLECTIVES for step in steps.values() for collective in step.collectives)
