import pytest

from albert_jax.errors import InputError
from albert_jax.models.sharing import SCHEMES, make_table, num_groups


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
    scheme = f"{name}:{groups}" if SCHEMES[name][1] is None else name
    table = make_table(scheme, layers)
    assert len(table) == layers
    assert set(table) == set(range(num_groups(table)))


@pytest.mark.parametrize(
  ("scheme", "message"),
  [
    ("cycel:2", 'Did you mean "cycle"'),
    ("groups", "between 1 and 4"),
    ("groups:5", "between 1 and 4"),
    ("groups:0", "between 1 and 4"),
    ("groups:x", "between 1 and 4"),
    ("all:2", "takes no number"),
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
