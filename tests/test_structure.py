"""The layout keeps its promises: which room may import which, how long a file is, how full a folder."""

import ast
import subprocess
from pathlib import Path

import pytest

from tests.builders import ROOT

# Room → the rooms that it may import, beside itself and BASE. A room is a folder of albert_jax/; the folders of data/
# and tools/ are rooms of their own. Rooms stand below those that import them, so the table has no circle.
BASE = {"errors", "messages", "files", "json_files", "loading", "hub", "config"}
DATA = {"data.text", "data.tokenizers", "data.examples", "data.pretraining", "data.finetuning", "data"}
TRAINING = {"models", "optim", "runtime", "checkpoints", "training"} | DATA
ALLOWED = {
  "models": set(),
  "data": set(),
  "data.text": {"data"},
  "data.tokenizers": {"data", "data.text"},
  "data.examples": {"data", "data.text", "data.tokenizers"},
  "data.pretraining": {"data", "data.tokenizers", "data.examples"},
  "data.finetuning": {"data", "data.text", "data.tokenizers"},
  "runtime": set(),
  "checkpoints": {"runtime"},
  "optim": {"models"},
  "training": {"models", "optim", "runtime", "checkpoints"} | DATA,
  "tasks": TRAINING,
  "interop": TRAINING | {"tasks"},
  "commands": TRAINING | {"tasks", "interop"},
  "predict": TRAINING | {"tasks", "interop"},
  "analysis": TRAINING | {"tasks"},
  "plots": {"training"},
  "lab": TRAINING | {"tasks", "interop", "commands", "analysis", "plots"},
  "tools.planning": TRAINING | {"tasks", "commands"},
  "tools.benchmarking": TRAINING | {"tasks", "commands", "interop", "tools.planning"},
  "tools.card": TRAINING | {"tasks", "tools.benchmarking"},
}
# Whatever else is read comes from the program itself, from the kernel, or from what Python has installed.
READ_THEMSELVES = {
  "albert_jax/files.py",
  "albert_jax/json_files.py",
  "albert_jax/data/text/pydoc.py",
  "albert_jax/data/tokenizers/hf_check.py",
  "albert_jax/lab/claims.py",
  "albert_jax/lab/report.py",
  "albert_jax/lab/spec.py",
  "albert_jax/tools/benchmarking/job.py",
  "albert_jax/tools/benchmarking/report.py",
  "albert_jax/tools/benchmarking/timing.py",
}
MAX_LINES = 300
MAX_FILES = 14  # in one folder of the package, __init__.py apart


def sources(pattern: str = "albert_jax/*.py") -> list[Path]:
  """The package's files, or others, as git lists them."""
  listed = subprocess.run(["git", "ls-files", pattern], cwd=ROOT, capture_output=True, text=True, check=True)
  return [Path(name) for name in listed.stdout.split()]


def room_of(module: str) -> str:
  """The room of a dotted module name without "albert_jax.": "data.text.files" → "data.text"."""
  parts = module.split(".")
  depth = 2 if parts[0] in ("data", "tools") and (ROOT / "albert_jax" / parts[0] / parts[1]).is_dir() else 1
  return ".".join(parts[:depth])


def imports(path: Path) -> set[str]:
  """The rooms that a file imports, wherever in the file."""
  found = set()
  for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
    if isinstance(node, ast.Import):
      found |= {alias.name for alias in node.names}
    elif isinstance(node, ast.ImportFrom) and node.module:
      found |= {f"{node.module}.{alias.name}" for alias in node.names}
  return {room_of(name.removeprefix("albert_jax.")) for name in found if name.startswith("albert_jax.")}


@pytest.mark.parametrize("room", ALLOWED)
def test_a_room_imports_only_what_lies_below_it(room):
  wrong = {}
  for path in sources():
    module = ".".join(path.with_suffix("").parts[1:])
    if len(path.parts) > 2 and room_of(module) == room:
      wrong[str(path)] = imports(path) - ALLOWED[room] - BASE - {room}
  assert wrong, f"albert_jax/{room} holds no file"
  assert not any(wrong.values()), {path: rooms for path, rooms in wrong.items() if rooms}


def test_every_folder_is_a_room_with_a_rule():
  rooms = {room_of(".".join(path.with_suffix("").parts[1:])) for path in sources() if len(path.parts) > 2}
  assert rooms - {"tools"} <= ALLOWED.keys() | BASE


def test_the_rules_have_no_circle():
  done: set[str] = set()
  while len(done) < len(ALLOWED):
    free = {room for room, below in ALLOWED.items() if room not in done and below <= done | {room}}
    assert free, f"a circle among {sorted(ALLOWED.keys() - done)}"
    done |= free


def reads(path: Path) -> bool:
  """Whether a file opens files to read their whole text, or parses JSON, by itself."""
  for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
    if isinstance(node, ast.Call):
      name = ast.unparse(node.func)
      mode = next((arg.value for arg in node.args[1:2] if isinstance(arg, ast.Constant)), "r")
      if name.endswith((".read_text", ".read_bytes")) or name in ("json.load", "json.loads"):
        return True
      if name == "open" and mode == "r":
        return True
  return False


def test_files_of_users_are_read_in_one_place():
  """files.py refuses what is no regular file, json_files.py what has another shape than the one that is declared."""
  assert {str(path) for path in sources() if reads(path)} == READ_THEMSELVES


def test_files_are_short():
  lengths = {str(path): len((ROOT / path).read_text().splitlines()) for path in sources("*.py")}
  assert not {path: length for path, length in lengths.items() if length > MAX_LINES}


def test_folders_are_not_crowded():
  folders: dict[Path, int] = {}
  for path in sources():
    if path.name != "__init__.py":
      folders[path.parent] = folders.get(path.parent, 0) + 1
  assert not {str(folder): count for folder, count in folders.items() if count > MAX_FILES}
