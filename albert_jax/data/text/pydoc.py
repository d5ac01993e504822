"""The embedded corpus: documentation that is installed with Python and the dependencies, so nothing is downloaded.

Source files are parsed, never imported: importing can be slow, print, or need an accelerator.
"""

import ast
import contextlib
import dataclasses
import functools
import gc
import importlib.metadata
import importlib.util
import inspect
import os
import platform
import re
import sysconfig
from collections.abc import Iterator

from albert_jax.data.text.base import Source, digest
from albert_jax.data.text.docstrings import prose
from albert_jax.errors import unknown

# Import name -> distribution, of dependencies (direct, or numpy's and jax's own) with much to read.
PACKAGES = {
  "absl": "absl-py",
  "etils": "etils",
  "flax": "flax",
  "grain": "grain",
  "jax": "jax",
  "ml_collections": "ml-collections",
  "numpy": "numpy",
  "optax": "optax",
  "orbax": "orbax-checkpoint",
  "pyarrow": "pyarrow",
  "scipy": "scipy",
}
VERSION = 1  # raise it when the same installation gives other text
_SKIPPED = re.compile(
  r"(^|/)(site-packages|dist-packages|tests?|testing|idlelib|lib2to3|_?vendor\w*|__pycache__|test_\w*\.py|"
  r"\w+_test\.py|\w+_test_\w+|\w+_pb2\.py)(/|$)"
)


@dataclasses.dataclass(frozen=True)
class PydocSource(Source):
  """Python's own documentation and the docstrings of `PACKAGES`; a shard is a package, a document a module.

  Attributes:
    only: the packages to read; all by default.
  """

  only: tuple[str, ...] = ()

  def __post_init__(self):
    for name in self.only:
      if name not in ("python", *PACKAGES):
        raise unknown("package of the source pydoc", name, ("python", *PACKAGES))

  @property
  def spec(self) -> str:
    """`pydoc`, or `pydoc:PACKAGE,…`."""
    return ":".join(filter(None, ("pydoc", ",".join(self.only))))

  @functools.cached_property
  def shards(self) -> tuple[str, ...]:
    """`python`, and the packages that are installed."""
    return tuple(name for name in self.only or ("python", *PACKAGES) if name == "python" or _folder(name))

  @functools.cached_property
  def fingerprint(self) -> str:
    """Hashes the versions of Python, of the packages, and of this module's rules."""
    versions = {name: importlib.metadata.version(PACKAGES[name]) for name in self.shards if name != "python"}
    return digest("pydoc", VERSION, platform.python_version(), self.only, sorted(versions.items()))

  def read(self, shard: str) -> Iterator[tuple[str, str]]:
    """Yields (`package/path.py`, prose); a paragraph that the shard has shown already is left out."""
    folder = sysconfig.get_path("stdlib") if shard == "python" else _folder(shard)
    seen: set[str] = set()
    for path in _modules(folder):
      text = _module_text(os.path.join(folder, path), seen)
      if text:
        yield f"{shard}/{path}", text


def _folder(package: str) -> str | None:
  spec = importlib.util.find_spec(package)
  return next(iter(spec.submodule_search_locations or []), None) if spec else None


def _modules(folder: str) -> list[str]:
  """The Python files below a folder, relative to it, in an order that no file system decides."""
  found = []
  for root, folders, files in os.walk(folder):
    relative = "" if root == folder else os.path.relpath(root, folder).replace(os.sep, "/") + "/"
    folders[:] = [f for f in folders if not _SKIPPED.search(relative + f)]
    found += [relative + f for f in files if f.endswith(".py") and not _SKIPPED.search(relative + f)]
  return sorted(found)


def _module_text(path: str, seen: set[str]) -> str:
  """The prose of a module's docstrings, a paragraph a line."""
  try:
    with open(path, encoding="utf-8") as f:
      code = f.read()
    if '"""' not in code and "'''" not in code:
      return ""
    with _no_garbage_collection():
      strings = list(_documentation(ast.parse(code)))
  except (SyntaxError, UnicodeDecodeError):  # a template, or a file in another encoding
    return ""
  paragraphs = []
  for string in strings:
    for paragraph in prose(inspect.cleandoc(string)):
      if paragraph not in seen:
        seen.add(paragraph)
        paragraphs.append(paragraph)
  return "\n".join(paragraphs)


@contextlib.contextmanager
def _no_garbage_collection():
  """A syntax tree is a million objects without a cycle; collecting while it grows takes half the time."""
  enabled = gc.isenabled()
  gc.disable()
  try:
    yield
  finally:
    if enabled:
      gc.enable()


def _documentation(module: ast.Module) -> Iterator[str]:
  """Docstrings in the order of the source, and the topics of `help()` (pydoc_data/topics.py)."""
  stack: list[ast.AST] = [module]
  while stack:
    node = stack.pop()
    if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
      if getattr(node.targets[0], "id", "") == "topics":
        yield from (v.value for v in node.value.values if isinstance(v, ast.Constant))
      continue
    if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
      yield ast.get_docstring(node, clean=False) or ""
    stack.extend(reversed(getattr(node, "body", [])) if not isinstance(node, (ast.Lambda, ast.Expr)) else ())
