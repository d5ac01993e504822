"""Sharing tables: which weight group each layer reads.

A table is a tuple with one entry a layer: `table[l]` is the weight group of layer l. `(0,) * L` is ALBERT, `range(L)`
is BERT, and every scheme of the literature lies between them. Attention and feed-forward have a table each.

To add a scheme, write a function of (layers, groups) and enter it in `SCHEMES`.
"""

from collections.abc import Callable, Sequence

from albert_jax.errors import InputError, unknown

Table = tuple[int, ...]


def _sequence(layers: int, groups: int) -> Table:
  """Consecutive layers share: layer l reads group ⌊l·G/L⌋ (ALBERT's groups; SEQUENCE in arXiv 2104.06022)."""
  return tuple(layer * groups // layers for layer in range(layers))


def _cycle(layers: int, groups: int) -> Table:
  """The groups are stacked over and over (CYCLE in arXiv 2104.06022)."""
  return tuple(layer % groups for layer in range(layers))


def _cycle_rev(layers: int, groups: int) -> Table:
  """As cycle, but the last G layers read the groups in reverse (CYCLE (REV) in arXiv 2104.06022)."""
  return _cycle(layers, groups)[: layers - groups] + tuple(reversed(range(groups)))


def _sandwich(layers: int, groups: int) -> Table:
  """The first and the last layer have their own weights, those between share one set (Subformer, arXiv 2101.00234)."""
  return (0, *(1,) * (layers - 2), groups - 1)


# name → (function of (layers, groups), the fixed number of groups as a function of layers; None = "name:GROUPS")
SCHEMES: dict[str, tuple[Callable[[int, int], Table], Callable[[int], int] | None]] = {
  "all": (_sequence, lambda layers: 1),
  "none": (_sequence, lambda layers: layers),
  "groups": (_sequence, None),
  "sequence": (_sequence, None),
  "cycle": (_cycle, None),
  "cycle_rev": (_cycle_rev, None),
  "sandwich": (_sandwich, lambda layers: min(layers, 3)),
}


def make_table(scheme: str | Sequence[int], layers: int) -> Table:
  """Returns the table of a scheme.

  Args:
    scheme: "all", "none", "sandwich"; "groups:G", "sequence:G", "cycle:G", "cycle_rev:G" with G weight groups; or the
      table itself, as integers or as a string like "0,0,1,1".
    layers: L.

  Returns:
    L group numbers that cover 0 … G−1.

  Raises:
    InputError: the scheme is unknown, or does not fit the number of layers.
  """
  if not isinstance(scheme, str):
    return _checked(tuple(scheme), layers)
  if scheme.strip("() ")[:1].isdigit():
    return _checked(_parse(scheme), layers)
  name, _, argument = scheme.partition(":")
  if name not in SCHEMES:
    raise unknown("sharing scheme", name, SCHEMES)
  function, fixed = SCHEMES[name]
  if fixed is not None:
    if argument:
      raise InputError(f'Sharing scheme "{name}" takes no number of groups, got "{scheme}".')
    groups = fixed(layers)
  elif argument.isdigit() and 1 <= int(argument) <= layers:
    groups = int(argument)
  else:
    raise InputError(
      f'Sharing scheme "{scheme}" needs a number of groups between 1 and {layers}, as in "{name}:{min(4, layers)}".'
    )
  if name == "sandwich" and layers < 3:
    raise InputError(f'Sharing scheme "sandwich" needs at least 3 layers, the model has {layers}.')
  return _checked(function(layers, groups), layers)


def num_groups(table: Table) -> int:
  """G, the number of weight groups that a table reads."""
  return max(table) + 1


def _parse(text: str) -> Table:
  try:
    return tuple(int(entry) for entry in text.strip("() ").rstrip(",").split(","))
  except ValueError as error:
    raise InputError(f'Sharing table "{text}" is not a list of integers like "0,0,1,1".') from error


def _checked(table: Table, layers: int) -> Table:
  if len(table) != layers:
    raise InputError(f"Sharing table {table} has {len(table)} entries for {layers} layers.")
  if sorted(set(table)) != list(range(len(set(table)))):
    raise InputError(f"Sharing table {table} must use the groups 0 … G−1 without a gap.")
  return table
