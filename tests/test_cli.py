"""How a program ends."""

import subprocess
import sys

import pytest

from albert_jax import cli
from albert_jax.errors import InputError
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
    ("""errors.InputError("'bert' is no tokenizer")""", "error: 'bert' is no tokenizer\n"),
    ("OSError(28, 'No space left on device')", "error: no space left: make room, then start again.\n"),
    ("OSError(122, 'Quota', 'a.jsonl')", "error: no space left for a.jsonl: make room, then start again.\n"),
    ("PermissionError(13, 'Permission denied', 'a.txt')", "error: a.txt: Permission denied.\n"),
    ("OSError(30, 'Read-only file system', 'runs')", "error: runs: Read-only file system.\n"),
    ("NotADirectoryError(20, 'Not a directory', 'a/b')", "error: a/b: Not a directory.\n"),
    ("FileNotFoundError(2, 'No such file or directory', 'gone')", "error: gone: No such file or directory.\n"),
  ],
)
def test_what_the_user_can_mend_is_one_line(raised, told):
  assert end(raised) == (2, told)


@pytest.mark.parametrize("raised", ["OSError(5, 'Input/output error', 'a')", "ValueError('a bug')", "KeyError('a')"])
def test_anything_else_has_a_traceback(raised):
  status, told = end(raised)
  assert status == 1
  assert "Traceback" in told
  assert "main" in told


@pytest.fixture
def config_file(tmp_path):
  """A function that writes a config file, and gives its path."""

  def write(text: str) -> str:
    (tmp_path / "configs").mkdir(exist_ok=True)
    path = tmp_path / "configs" / "mine.py"
    path.write_text(text)
    return str(path)

  return write


def check(*arguments: str) -> None:
  """What `cli.run` does with the arguments before it calls main."""
  cli._check_config(["train.py", *arguments])


@pytest.mark.parametrize(
  ("text", "message"),
  [
    ("def get_config(a='')\n  pass\n", r"mine\.py:1"),
    ("import no_such_module\n", r"mine\.py:1: ModuleNotFoundError"),
    ("def get_config(a=''):\n  x = 1\n  return {}['x']\n", r"mine\.py:3: KeyError"),
    ("def get_config(a=''):\n  return 3\n", "must return a config"),
    ("x = 3\n", "get_config"),
  ],
)
def test_a_broken_config_file_is_named_with_its_line(config_file, text, message):
  with pytest.raises(InputError, match=message):
    check(f"--config={config_file(text)}")


def test_mistakes_in_the_command_line_are_named():
  config = f"--config={ROOT}/configs/albert_tiny.py"
  check(config, "--config.model.width=64", "--config.mesh.data", "1")
  with pytest.raises(InputError, match=r"model\.width"):
    check(config, "--config.model.widht=64")
  with pytest.raises(InputError, match="albert_tiny"):
    check(f"--config={ROOT}/configs/albert_tini.py")
  with pytest.raises(InputError, match="test"):
    check(f"{config}:tset")


@pytest.mark.parametrize("module", ["train", "eval", "albert_jax.predict.predictor"])
def test_what_few_need_is_imported_where_it_is_used(module):
  """Each of these takes from half a second to two."""
  code = f"import sys, {module}\nprint(*(name for name in sys.argv[1:] if name in sys.modules))"
  slow = ["torch", "transformers", "tensorflow", "scipy.stats", "sklearn", "pandas", "matplotlib", "wandb", "onnx"]
  result = subprocess.run([sys.executable, "-c", code, *slow], cwd=ROOT, capture_output=True, text=True, timeout=300)
  assert result.stdout.split() == [], result.stderr
