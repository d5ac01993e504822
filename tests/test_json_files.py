import os

import pytest

from albert_jax.errors import InputError
from albert_jax.json_files import read_json

SHAPE = {"a": int, "b?": [{"c": (str, None)}], "d?": {str: float}}


@pytest.mark.parametrize(
  "text",
  ['{"a": 1}', '{"a": 1, "b": [], "other": [1]}', '{"a": 1, "b": [{"c": null}, {"c": "x"}], "d": {"x": 1, "y": 0.5}}'],
)
def test_a_value_of_the_shape(tmp_path, text):
  (tmp_path / "x.json").write_text(text)
  assert read_json(tmp_path / "x.json", SHAPE)["a"] == 1


@pytest.mark.parametrize(
  ("text", "words"),
  [
    ("[]", "a list, not an object"),
    ("{}", "lacks 'a'"),
    ('{"a": 1.5}', "a is 1.5, not a whole number"),
    ('{"a": true}', "a is true"),
    ('{"a": 36893488147419103232}', "a is 36893488147419103232"),
    ('{"a": 1, "b": [{"c": ""}, {"c": 2}]}', r"b\[1\].c is 2, not text or null"),
    ('{"a": 1, "b": [3]}', r"b\[0\] is 3"),
    ('{"a": 1, "d": {"x": "1"}}', "d.x is"),
    ('{"a": NaN}', "NaN"),
    ('{"a": 1, "b": [{"c": "\\ud800"}]}', "surrogate"),
    ('{"a": 1, "d": {"\\ud800": 1}}', "surrogate"),
    ("{", "not JSON"),
    ("[" * 100_000, "not JSON"),
    ('{"a": ' + "9" * 5000 + "}", "not JSON"),
    (b"\xff{}", "not JSON"),
    ('{"a": 1, "d": {"x": 1e999}}', "d.x is Infinity, not a number"),
    ('{"a": 1, "deep": ' + "[" * 120 + "]" * 120 + "}", "nested more than 100 deep"),
  ],
)
def test_any_other_value_is_named(tmp_path, text, words):
  (tmp_path / "x.json").write_bytes(text if isinstance(text, bytes) else text.encode())
  with pytest.raises(InputError, match=words) as error:
    read_json(tmp_path / "x.json", SHAPE, hint="Fetch it again.")
  assert "x.json" in str(error.value)
  assert str(error.value).endswith("Fetch it again.")


def test_what_is_no_file(tmp_path):
  os.mkfifo(tmp_path / "fifo")
  for name, words in (("fifo", "regular"), (".", "regular"), ("missing", "No such file")):
    with pytest.raises(InputError, match=words):
      read_json(tmp_path / name, SHAPE)
