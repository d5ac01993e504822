import jax
import pytest

from albert_jax.errors import InputError
from albert_jax.runtime.compilation import compile_program, compiler_options, keep_compiled
from albert_jax.tasks import make_task
from albert_jax.training.program import make_program
from tests.builders import override


def test_options_of_a_platform_and_more():
  assert compiler_options("cpu", deterministic=True, more="") == {}
  assert compiler_options("gpu", deterministic=False, more="") == {}
  assert compiler_options("gpu", deterministic=True, more=" xla_a=1,xla_gpu_deterministic_ops=false") == {
    "xla_a": "1",
    "xla_gpu_deterministic_ops": "false",
  }


@pytest.mark.parametrize("more", ["xla_a", "a=1", "xla_a=1,b"])
def test_options_of_another_form_are_refused(more):
  with pytest.raises(InputError, match=r"train.compiler_options: .* is not of the form xla_NAME=VALUE"):
    compiler_options("cpu", deterministic=False, more=more)


def test_the_train_step_is_compiled_with_the_options(small_config):
  config = override(small_config, {"train.compiler_options": "xla_no_such_option=1"})
  program = make_program(config, make_task(config), jax.devices()[:1])
  lowered = program.train_step.lower(program.state, program.task.batch_specs(config.train.batch_size), program.hyper)
  with pytest.raises(InputError, match=r"^train.compiler_options: No such compile option: 'xla_no_such_option'"):
    compile_program(lowered)


@pytest.fixture
def cache_setting():
  before = jax.config.jax_compilation_cache_dir
  yield
  jax.config.update("jax_compilation_cache_dir", before)


def test_compiled_programs_are_kept_in_the_cache_unless_another_place_is_named(tmp_path, cache_setting):
  jax.config.update("jax_compilation_cache_dir", None)
  keep_compiled(str(tmp_path))
  assert jax.config.jax_compilation_cache_dir == str(tmp_path / "compiled")
  keep_compiled(str(tmp_path / "other"))
  assert jax.config.jax_compilation_cache_dir == str(tmp_path / "compiled")
