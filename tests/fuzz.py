"""Hostile values for every node of a JSON file."""

import copy
import json
from collections.abc import Iterator
from typing import Any

import numpy as np

STRANGE = (None, True, -1, 2**70, 1.5, float("nan"), float("inf"), "x", "../x", "", "\ud800")
STRANGE += ([], ["x"], [[]], {}, {"x": 1}, {"\ud800": 1})
NO_JSON = (b"", b"{", b"\xff\xfe\x00", b"[" * 100_000, b'{"a":' * 900 + b"1" + b"}" * 900, b"9" * 5000)


def nodes(value: Any, path: tuple = ()) -> Iterator[tuple]:
  """The path of every node of a JSON value, () for the whole."""
  yield path
  for key, item in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
    yield from nodes(item, (*path, key))


def changed(value: Any, path: tuple, node: Any) -> Any:
  """A copy of a JSON value with another node at a path."""
  if not path:
    return node
  whole = place = copy.deepcopy(value)
  for key in path[:-1]:
    place = place[key]
  place[path[-1]] = node
  return whole


def damaged_files(value: Any, *, seed: int = 0, each: int = len(STRANGE)) -> Iterator[bytes]:
  """Files that are no JSON, then the value with `each` strange values in the place of every node, and without it."""
  random = np.random.default_rng(seed)
  yield from NO_JSON
  for path in nodes(value):
    for index in random.choice(len(STRANGE), each, replace=False):
      yield json.dumps(changed(value, path, STRANGE[index])).encode()
    if path and isinstance(path[-1], str):
      parent = value
      for key in path[:-1]:
        parent = parent[key]
      yield json.dumps(changed(value, path[:-1], {k: v for k, v in parent.items() if k != path[-1]})).encode()
