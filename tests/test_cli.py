"""How a program ends."""

import subprocess
import sys

import pytest

from tests.builders import ROOT


def end(raised: str) -> tuple[int, str]:
  """Status and stderr of a program that raises what an expression makes."""
  code = "from albert_jax import cli, errors\ndef main(_):\n  raise " + raised + "\ncli.run(main)"
  result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300)
  return result.returncode, result.stderr


@pytest.mark.parametrize(
  ("raised", "told"),
  [
    ("errors.InputError('name another')", "error: name another\n"),
    ("OSError(28, 'No space left on device')", "error: no space left: make room, then start again.\n"),
    ("OSError(122, 'Quota', 'a.jsonl')", "error: no space left for a.jsonl: make room, then start again.\n"),
  ],
)
def test_what_the_user_can_mend_is_one_line(raised, told):
  assert end(raised) == (2, told)


@pytest.mark.parametrize("raised", ["OSError(5, 'Input/output error')", "ValueError('a bug')"])
def test_anything_else_has_a_traceback(raised):
  status, told = end(raised)
  assert status == 1
  assert "Traceback" in told
  assert "main" in told
