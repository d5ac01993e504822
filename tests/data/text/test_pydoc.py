import pickle
import subprocess
import sys

import pytest

from albert_jax.data.text import pydoc
from albert_jax.data.text.docstrings import prose
from albert_jax.data.text.sentences import detect_layout
from albert_jax.data.text.sources import open_source


def test_modules_are_documents_of_paragraphs():
  source = open_source("pydoc")
  assert source.shards[0] == "python"
  assert {"jax", "numpy"} <= set(source.shards)
  documents = dict(source.read("absl"))
  assert "absl/flags/_flag.py" in documents
  assert not any("test" in key.split("/")[-1] for key in documents)
  assert list(source.read("absl")) == list(documents.items())
  text = "\n".join(documents.values())
  assert ">>>" not in text
  assert len(text) > 30_000
  paragraphs = text.split("\n")
  assert len(set(paragraphs)) == len(paragraphs)
  assert detect_layout(source) == "paragraphs"


def test_topics_of_help_are_there():
  for key, text in pydoc.PydocSource().read("python"):
    if key == "python/pydoc_data/topics.py":
      assert len(text) > 200_000
      assert "mutable" in text
      return
  pytest.fail("no topics")


def test_nothing_is_imported():
  code = (
    "import sys; from albert_jax.data.text.sources import open_source; source = open_source('pydoc'); "
    "list(source.read('optax')); print(*sys.modules)"
  )
  modules = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
  assert "albert_jax.data.text.pydoc" in modules
  assert not {"optax", "flax", "scipy", "tensorflow"} & set(modules)


def test_fingerprint_follows_versions(monkeypatch):
  first = open_source("pydoc").fingerprint
  assert pickle.loads(pickle.dumps(open_source("pydoc"))).fingerprint == first
  monkeypatch.setattr(pydoc.importlib.metadata, "version", lambda name: "0.0.0")
  packages = open_source("pydoc").fingerprint
  monkeypatch.setattr(pydoc.platform, "python_version", lambda: "9.9.9")
  assert len({first, packages, open_source("pydoc").fingerprint}) == 3


def test_files_that_do_not_parse_are_passed_over(tmp_path, monkeypatch):
  (tmp_path / "sub").mkdir()
  (tmp_path / "b.py").write_text('"""This module is a good one."""\ndef broken(:')
  (tmp_path / "sub" / "a.py").write_text('"""This module is a good one."""')
  (tmp_path / "a.py").write_text(
    '"""This module is a good one."""\nclass A:\n  def f():\n    """It has a method too."""'
  )
  monkeypatch.setattr(pydoc, "_folder", lambda package: str(tmp_path))
  assert list(pydoc.PydocSource().read("x")) == [("x/a.py", "This module is a good one.\nIt has a method too.")]


@pytest.mark.parametrize(
  ("docstring", "expected"),
  [
    ("Returns the sum of\nall the numbers.", ["Returns the sum of all the numbers."]),
    ("One paragraph is here.\n\nAnother is right there.", ["One paragraph is here.", "Another is right there."]),
    ("The text comes first.\n\n>>> This is code here\n  That was output here.\n\nThe text goes on.",
     ["The text comes first.", "The text goes on."]),
    ("An example of it::\n\n  This is code here.\n\n  So is this line.\n\nThe text goes on.",
     ["An example of it:", "The text goes on."]),
    ("Notes and more notes\n--------------------\nThe text is below it.", ["The text is below it."]),
    ("Parameters\n----------\nx : array_like\n    The first of the arrays.\n    It may be empty.",
     ["The first of the arrays. It may be empty."]),
    ("Args:\n  x (int): The first of\n    the two numbers.\n  y: The second of the two.",
     ["The first of the two numbers.", "The second of the two."]),
    (":param x: The first of the numbers.", ["The first of the numbers."]),
    ("* An item of the list\n  goes on here.\n* Another item is here.",
     ["An item of the list goes on here.", "Another item is here."]),
    (".. code-block:: python\n\n  This is code here.\n\nThe text goes on.", ["The text goes on."]),
    (".. note:: This is worth a note.\n   It goes on here.", ["This is worth a note. It goes on here."]),
    (".. versionadded:: 3.5\n   It was added in that version.", ["It was added in that version."]),
    ("```\nThis is code in fences.\n```\nThe text goes on.", ["The text goes on."]),
    ("=====  =====\nThe table has a row.\nAnd one more row.\n=====  =====\n\nThe text goes on.", ["The text goes on."]),
    ("See :class:`~a.b.Name` and :func:`run <x.run>` in ``code``, *very* **much** [1]_.",
     ["See a.b.Name and run in code, very much."]),
    ("It takes *args and **kwargs of any kind.", ["It takes *args and **kwargs of any kind."]),
    ("x = f(a, b) + [1, 2] * {3: 4}", []),
    ("The f(x)=[a+b]*{c} / (d-e)==0 && !(g<=h) done.", []),
    ("Too short.", []),
  ],
)  # fmt: skip
def test_prose(docstring, expected):
  assert prose(docstring) == expected
