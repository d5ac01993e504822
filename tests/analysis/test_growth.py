import jax
import numpy as np
import pytest

from albert_jax.analysis.growth import norms, relative_change
from albert_jax.analysis.report import growth_report
from albert_jax.tasks import make_task


def test_one_number_for_each_group_of_a_stack(small_config):
  task = make_task(small_config)
  params, axes = jax.device_get(task.init(jax.random.key(0))), task.param_axes()
  found = norms(params, axes)
  query = params["encoder"]["attn"]["query"]["kernel"]
  np.testing.assert_allclose(found["encoder/attn/query/kernel"], [np.linalg.norm(query[0]), np.linalg.norm(query[1])])
  np.testing.assert_allclose(
    found["encoder/embeddings/word"], [np.linalg.norm(params["encoder"]["embeddings"]["word"])]
  )
  assert {path: len(size) for path, size in found.items() if len(size) > 1}.keys() == {
    path for path in found if path.startswith("encoder/attn/")
  }


def test_relative_change_is_that_of_each_group(small_config):
  task = make_task(small_config)
  before, axes = jax.device_get(task.init(jax.random.key(0))), task.param_axes()
  after = jax.tree.map(np.array, before)
  after["encoder"]["attn"]["query"]["kernel"][1] *= 1.5
  after["mlm"]["bias"] += 1  # was 0
  found = relative_change(before, after, axes)
  np.testing.assert_allclose(found.pop("encoder/attn/query/kernel"), [0, 0.5], rtol=1e-6)
  assert np.isinf(found.pop("mlm/bias"))
  assert not any(change.any() for change in found.values())
  report = growth_report(before, after, axes)
  assert report["mlm/bias"]["relative_change"] == [None]
  assert report["encoder/attn/query/kernel"]["relative_change"][1] == pytest.approx(0.5)
