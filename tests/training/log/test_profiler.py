import jax
import jax.numpy as jnp
import pytest

from albert_jax.errors import InputError
from albert_jax.training.log.profiler import FOLDER, Profiler, parse_steps


def test_the_asked_steps_are_traced(tmp_path):
  profiler, states = Profiler("2-3", str(tmp_path)), []
  for step in range(1, 5):
    with profiler.step(step):
      jax.block_until_ready(jnp.ones(3) + step)
    states.append(profiler._running)
  assert states == [False, True, False, False]
  assert list((tmp_path / FOLDER).rglob("*.xplane.pb"))


def test_a_run_that_ends_within_the_trace_closes_it(tmp_path):
  profiler = Profiler("1-9", str(tmp_path))
  with profiler.step(1):
    pass
  profiler.close()
  assert list((tmp_path / FOLDER).rglob("*.xplane.pb"))


def test_without_steps_nothing_is_written(tmp_path):
  profiler = Profiler("", str(tmp_path))
  with profiler.step(1):
    pass
  profiler.close()
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ["a", "3-", "-3", "0-2", "5-4", "1-2-3", "1.5"])
def test_other_forms_are_refused(text):
  with pytest.raises(InputError, match=r"train\.profile"):
    parse_steps(text)


def test_a_single_step():
  assert parse_steps("7") == (7, 7)
