from types import SimpleNamespace

import jax
import jax.numpy as jnp
import pytest

from albert_jax.training import window
from albert_jax.training.window import Window


@pytest.fixture
def lines(monkeypatch):
  """The speed of each line of a log of six steps: 10 tokens and 2 s each, over when their dispatch returns."""
  now, written = [0.0], []
  monkeypatch.setattr(window, "time", SimpleNamespace(perf_counter=lambda: now[0]))
  program = SimpleNamespace(
    task=SimpleNamespace(losses=("loss",), metrics=dict),
    config=SimpleNamespace(train=SimpleNamespace(log_every=2)),
    steps=6,
    mesh=SimpleNamespace(devices=SimpleNamespace(flat=jax.devices()[:1], size=1)),
    guard=SimpleNamespace(max_bad_steps=3),
  )
  writer = SimpleNamespace(write=lambda step, split, metrics: written.append((step, metrics["tokens_per_second"])))
  progress = SimpleNamespace(show=lambda step, metrics: None, say=print)
  log = Window(program, writer, progress, bad_in_a_row=0)
  terms = {"loss": (1.0, 1.0), "skipped_steps": (0.0, 1.0), "fill": (10.0, 16.0)}
  for step in range(1, 7):
    now[0] += 2.0
    log.add(step, jax.block_until_ready(jax.tree.map(jnp.float32, terms)))
  return written


def test_a_line_holds_the_time_of_its_own_steps(lines):
  assert lines == [(2, 5.0), (4, 5.0), (6, 5.0)]
