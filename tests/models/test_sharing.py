import pytest

from albert_jax.errors import InputError
from albert_jax.models.sharing import SCHEMES, make_table, num_groups, readers


@pytest.mark.parametrize(
  ("scheme", "layers", "table"),
  [
    ("all", 4, (0, 0, 0, 0)),
    ("none", 4, (0, 1, 2, 3)),
    ("groups:2", 6, (0, 0, 0, 1, 1, 1)),
    ("groups:4", 6, (0, 0, 1, 2, 2, 3)),  # ⌊l·4/6⌋
    ("sequence:3", 6, (0, 0, 1, 1, 2, 2)),
    ("cycle:3", 6, (0, 1, 2, 0, 1, 2)),
    ("cycle_rev:3", 6, (0, 1, 2, 2, 1, 0)),
    ("cycle_rev:2", 6, (0, 1, 0, 1, 1, 0)),
    ("sandwich", 5, (0, 1, 1, 1, 2)),
    ("sandwich", 3, (0, 1, 2)),
    ("loop:0-1-0", 4, (0, 0, 0, 0)),
    ("loop:0-2-0", 6, (0, 1, 0, 1, 0, 1)),
    ("loop:2-2-2", 8, (0, 1, 2, 3, 2, 3, 4, 5)),
    ("loop:1-3-0", 7, (0, 1, 2, 3, 1, 2, 3)),
    ("0,0,1,1", 4, (0, 0, 1, 1)),
    ("(1, 0, 1)", 3, (1, 0, 1)),
    ("(0,)", 1, (0,)),
    ([0, 1, 1], 3, (0, 1, 1)),
    ((0, 0), 2, (0, 0)),
  ],
)
def test_table_of_each_scheme(scheme, layers, table):
  assert make_table(scheme, layers) == table
  assert num_groups(table) == len(set(table))


@pytest.mark.parametrize("name", SCHEMES)
@pytest.mark.parametrize("layers", [3, 7, 12, 24])
def test_every_scheme_covers_its_groups(name, layers):
  for groups in range(1, layers + 1):
    numbers = {"": "", "G": f":{groups}", "P-K-C": f":{groups - 1}-1-{(layers - groups) // 2}"}[SCHEMES[name][1]]
    table = make_table(name + numbers, layers)
    assert len(table) == layers
    assert set(table) == set(range(num_groups(table)))


def test_readers_counts_the_layers_of_a_group():
  assert readers((0, 1, 1, 2, 1)) == (1, 3, 3, 1, 3)


@pytest.mark.parametrize(
  ("scheme", "message"),
  [
    ("cycel:2", 'Did you mean "cycle"'),
    ("groups", "groups:G"),
    ("groups:5", "between 1 and 4"),
    ("groups:0", "between 1 and 4"),
    ("groups:x", "groups:G"),
    ("all:2", "written"),
    ("loop:1-2", "loop:P-K-C"),
    ("loop:1-2-0", "whole number of times"),
    ("loop:2-1-2", "leaves 0 of 4"),
    ("loop:0-0-0", "block of 0"),
    ("0,0,1", "3 entries for 4 layers"),
    ("0,2,2,0", "without a gap"),
    ("0,a,1,1", "not a list of integers"),
    ((0, 1, -1, 0), "without a gap"),
  ],
)
def test_bad_schemes_are_named(scheme, message):
  with pytest.raises(InputError, match=message.replace("(", r"\(")):
    make_table(scheme, 4)


def test_sandwich_needs_three_layers():
  with pytest.raises(InputError, match="at least 3"):
    make_table("sandwich", 2)
