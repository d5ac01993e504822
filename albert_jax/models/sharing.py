"""Sharing tables: which weight group each layer reads.

A table is a tuple with one entry a layer: `table[l]` is the weight group of layer l. `(0,) * L` is ALBERT, `range(L)`
is BERT, and every scheme of the literature lies between them. Attention and feed-forward have a table each, and so may
each of their matrices, the LayerNorms and the biases (`sizes.LEAVES`).

To add a scheme, write a function of (layers, its numbers) and enter it in `SCHEMES`.
"""

import collections
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


def _loop(layers: int, prelude: int, block: int, coda: int) -> Table:
  """P layers of their own, a block of K layers over and over, C layers of their own (2+K×r+2 in arXiv 2604.21106)."""
  looped = layers - prelude - coda
  if block < 1 or looped < block or looped % block:
    raise InputError(
      f'Sharing scheme "loop:{prelude}-{block}-{coda}" leaves {looped} of {layers} layers for a block of {block}: it '
      "must go into them a whole number of times."
    )
  middle = tuple(prelude + layer % block for layer in range(looped))
  return (*range(prelude), *middle, *range(prelude + block, prelude + block + coda))


def _sandwich(layers: int) -> Table:
  """The first and the last layer have their own weights, those between share one set (Subformer, arXiv 2101.00234)."""
  if layers < 3:
    raise InputError(f'Sharing scheme "sandwich" needs at least 3 layers, the model has {layers}.')
  return _loop(layers, 1, 1, 1)


# name → (function of (layers, numbers …), the names of the numbers, as in "cycle:G" and "loop:P-K-C")
SCHEMES: dict[str, tuple[Callable[..., Table], str]] = {
  "all": (lambda layers: (0,) * layers, ""),
  "none": (lambda layers: tuple(range(layers)), ""),
  "groups": (_sequence, "G"),
  "sequence": (_sequence, "G"),
  "cycle": (_cycle, "G"),
  "cycle_rev": (_cycle_rev, "G"),
  "loop": (_loop, "P-K-C"),
  "sandwich": (_sandwich, ""),
}


def make_table(scheme: str | Sequence[int], layers: int) -> Table:
  """Returns the table of a scheme.

  Args:
    scheme: "all", "none", "sandwich"; "groups:G", "sequence:G", "cycle:G", "cycle_rev:G" with G weight groups;
      "loop:P-K-C"; or the table itself, as integers or as a string like "0,0,1,1".
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
  function, names = SCHEMES[name]
  numbers = argument.split("-") if argument else []
  if len(numbers) != len(names.replace("-", "")) or not all(number.isdecimal() for number in numbers):
    raise InputError(f'Sharing scheme "{scheme}" must be written "{name}{":" if names else ""}{names}".')
  if names == "G" and not 1 <= int(argument) <= layers:
    raise InputError(f'Sharing scheme "{scheme}" needs a number of groups between 1 and {layers}.')
  return _checked(function(layers, *map(int, numbers)), layers)


def readers(table: Table) -> Table:
  """For each layer, the number of layers that read its weight group."""
  counts = collections.Counter(table)
  return tuple(counts[group] for group in table)


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
