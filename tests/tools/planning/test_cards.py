import sys

import pytest

from albert_jax.errors import InputError
from albert_jax.tools.planning import cards, machines
from albert_jax.tools.planning.chips import CHIPS
from albert_jax.training.log.metrics import PEAK_FLOPS


def test_a_topology_names_its_card_and_their_number():
  assert cards.card_of("h100:8") == (cards.CARDS["h100"], 8)
  assert machines.machine_of("h200:1") is cards.CARDS["h200"]
  assert machines.machine_of("v5e:4x4") is CHIPS["v5e"]


@pytest.mark.parametrize("name", ["h100", "h100:", "h100:0", "h100:9", "h100:16", "h100:2x4", "h100:-1"])
def test_a_number_that_no_machine_has_is_refused(name):
  with pytest.raises(InputError, match="h100:1"):
    machines.open_devices(name)


def test_an_unknown_kind_is_refused_with_those_of_both_sorts():
  with pytest.raises(InputError, match=r"h101.*h100"):
    machines.machine_of("h101:8")


@pytest.mark.parametrize("kind", cards.CARDS)
def test_peaks_are_those_that_training_measures_against(kind):
  card = cards.CARDS[kind]
  name = max((name for name in PEAK_FLOPS if card.name.startswith(name)), key=len)
  assert card.peak == PEAK_FLOPS[name]


def test_the_compiler_is_told_the_facts_of_the_card():
  target = cards.CARDS["h100"].target
  for fact in ("core_count: 132", "memory_bandwidth: 3352320000000", "major: 9 minor: 0", "NVIDIA H100 80GB HBM3"):
    assert fact in target
  assert target.count("{") == target.count("}")
  assert cards.CARDS["a100"].target != target


def test_without_the_plugin_the_extra_is_named(monkeypatch):
  monkeypatch.setitem(sys.modules, "jax_plugins", None)
  with pytest.raises(InputError, match=r"\[plan\]"):
    machines.open_devices("h100:1")
