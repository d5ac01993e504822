import jax.numpy as jnp
import numpy as np
import pytest

from albert_jax.errors import InputError
from albert_jax.training.log.skips import SkipMonitor


class LossTask:
  def metrics(self, means):
    return means


class Lines(list):
  def write(self, step, split, metrics):
    self.append((step, split, metrics))


def make_terms(loss=1.0, grad_norm=2.0, skipped=0):
  terms = {"loss": 4 * loss, "grad_norm": 4 * grad_norm, "skipped_steps": 4.0 * skipped}
  return {name: (jnp.float32(value), jnp.float32(4)) for name, value in terms.items()}


def make_skips(limit=3, in_a_row=0):
  lines, told = Lines(), []
  return SkipMonitor(LossTask(), limit=limit, in_a_row=in_a_row, writer=lines, say=told.append), lines, told


def test_skipped_steps_are_reported():
  skips, lines, told = make_skips()
  steps = [make_terms(), make_terms(np.nan, np.inf, 1), make_terms(50, 3, 1), make_terms(2)]
  assert [skips.take(step, terms) for step, terms in enumerate(steps, 1)] == [False, True, True, False]
  np.testing.assert_equal(
    lines,
    [
      (2, "skipped", {"batch": 1, "loss": np.nan, "grad_norm": np.inf}),
      (3, "skipped", {"batch": 2, "loss": 50, "grad_norm": 3}),
    ],
  )
  assert told == [
    "warning: step 2 was skipped, not finite: loss nan, gradient norm inf; 1 in a row",
    "warning: step 3 was skipped, a spike (train.spike_factor): loss 50, gradient norm 3; 2 in a row",
  ]


def test_what_was_in_a_row_before_the_first_step_counts():
  skips, _, _ = make_skips(limit=3, in_a_row=2)
  with pytest.raises(InputError, match="3 consecutive steps were skipped, the last was step 8"):
    skips.take(8, make_terms(skipped=1))


def test_a_step_that_is_taken_ends_the_row():
  skips, _, _ = make_skips(limit=2)
  for skipped in (1, 0, 1, 0, 1):
    skips.take(1, make_terms(skipped=skipped))
