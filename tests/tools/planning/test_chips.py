import pytest

from albert_jax.errors import InputError
from albert_jax.tools.planning import chips
from albert_jax.training.log.metrics import PEAK_FLOPS


def test_a_topology_names_its_chip():
  assert chips.chip_of("v5p:4x4x4") is chips.CHIPS["v5p"]
  with pytest.raises(InputError, match=r'"v5".*v5e'):
    chips.chip_of("v5:4x4")
  with pytest.raises(InputError, match='lacks its shape: write it as "v5p:4x4x4"'):
    chips.chip_of("v5p")


@pytest.mark.parametrize("kind", chips.CHIPS)
def test_peaks_are_those_that_training_measures_against(kind):
  assert chips.CHIPS[kind].peak == PEAK_FLOPS[f"TPU {kind}"]


def test_links_in_use():
  v5e = chips.CHIPS["v5e"]
  assert v5e.transfer_rate(group=16, chips=16) == 4 * v5e.link_rate
  assert v5e.transfer_rate(group=4, chips=16) == 2 * v5e.link_rate


@pytest.mark.parametrize(
  ("said", "told"),
  [
    ("JAX TPU support not installed; cannot generate TPU topology.", r"\[plan\]"),
    ('INVALID_ARGUMENT: Topology layout "v5e:3x3" is not divisible', "^--topology=v5e:3x3: Topology layout"),
  ],
)
def test_what_libtpu_refuses_is_the_users_to_mend(monkeypatch, said, told):
  def refuse(**more):
    raise RuntimeError(said)

  monkeypatch.setattr(chips.topologies, "get_topology_desc", refuse)
  with pytest.raises(InputError, match=told):
    chips.open_topology("v5e:3x3")


def test_a_slice_that_libtpu_would_abort_on_is_refused():
  with pytest.raises(InputError, match="v5e:32x32: the largest slice of this kind is 16x16"):
    chips.open_topology("v5e:32x32")


def test_two_cores_are_one_device_where_they_can(monkeypatch):
  asked = []
  monkeypatch.setattr(chips.topologies, "get_topology_desc", lambda **more: asked.append(more) or _Description())
  chips.open_topology("v4:4x4x4")
  chips.open_topology("v5e:4x4")
  assert [more.get("chip_config_name") for more in asked] == ["megacore", None]


class _Description:
  devices = ()
