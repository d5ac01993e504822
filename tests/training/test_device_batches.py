"""What the loop holds ready on the devices."""

import types

import numpy as np
import pytest

from albert_jax.training import device_batches


@pytest.fixture
def placed(monkeypatch) -> list[int]:
  """Numbers of the batches that have been sent to the devices."""
  numbers = []
  monkeypatch.setattr(device_batches, "local_rows", lambda sharding, size: (0, size))
  monkeypatch.setattr(
    device_batches, "to_devices", lambda local, sharding, size: numbers.append(int(local["number"])) or local
  )
  return numbers


class Numbered:
  """Rows whose batches hold nothing but their number."""

  def batch(self, number, size, first, last):
    return {"number": np.array(number)}


def test_the_next_batch_is_sent_before_a_step_gets_its_own(placed):
  config = types.SimpleNamespace(data=types.SimpleNamespace(workers=0, prefetch=1))
  program = types.SimpleNamespace(config=config, batch_sharding=None)
  batches = device_batches.device_batches(program, Numbered(), 3, 6, size=2)
  for number, sent in [(3, [3, 4]), (4, [3, 4, 5]), (5, [3, 4, 5])]:
    assert int(next(batches)["number"]) == number
    assert placed == sent
  assert next(batches, None) is None
