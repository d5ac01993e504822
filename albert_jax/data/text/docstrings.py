"""Docstrings (reStructuredText, NumPy's and Google's styles) to prose: paragraphs without code and markup."""

import re
from collections.abc import Iterable, Iterator

_RULE = re.compile(r"^[-=~^*#_+|.`'\"\s]{3,}$")
_BULLET = re.compile(r"^([*+•-]|\(?\d{1,2}[.)])\s+")
_FIELD = re.compile(r"^:[^:`]+:\s+")  # ":param x: ..."
_NAMED = re.compile(r"^\*{0,2}`{0,2}\w+`{0,2}(\s?\([^)]*\))?:\s+(?=\S)")  # "x (int): ..."
_DIRECTIVE = re.compile(r"^\.\.(\s+([\w-]+)::\s*(.*)|\s.*|)$")
# The bodies of these directives are prose; those of the others are code, mathematics or tables.
_PROSE_DIRECTIVES = {"note", "warning", "tip", "hint", "caution", "important", "attention", "topic"}
_VERSION_DIRECTIVES = {"versionadded", "versionchanged", "deprecated"}
_MARKUP = (
  (re.compile(r"\s*\[[\w*]+\]_"), ""),  # citations
  (re.compile(r":[\w:+-]+:`[~!.]*([^`<]+?)(\s*<[^>`]*>)?`"), r"\1"),  # roles
  (re.compile(r"`([^`<]+?)\s*<[^>`]*>`_{1,2}"), r"\1"),  # links
  (re.compile(r"`{1,2}([^`]+)`{1,2}_{0,2}"), r"\1"),
  (re.compile(r"(?<!\w)(\*{1,2})(?=\w)([^*]+?)(?<=\w)\1(?!\w)"), r"\2"),
  (re.compile(r"\s+"), " "),
)


def prose(docstring: str) -> list[str]:
  """The paragraphs of a dedented docstring that read as prose, each joined to one line."""
  found = []
  for paragraph in _paragraphs(_text_lines(docstring.expandtabs().split("\n"))):
    for pattern, plain in _MARKUP:
      paragraph = pattern.sub(plain, paragraph)
    paragraph = paragraph.strip()
    if _reads_as_prose(paragraph):
      found.append(paragraph)
  return found


def _text_lines(lines: Iterable[str]) -> Iterator[str]:
  """Drops code, doctests, tables, headings and directives; "" stands between blocks."""
  fenced, doctest, table, skip_above = False, False, False, None
  kept = ""  # one line behind, because a rule below a line makes it a heading
  for line in lines:
    text = line.strip()
    indent = len(line) - len(line.lstrip())
    if text.startswith("```"):
      fenced = not fenced
      continue
    if not text:
      doctest = table = False
    if fenced or doctest or (skip_above is not None and text and indent > skip_above):
      continue
    if text:
      skip_above = None
    if text.startswith(">>>"):
      doctest = True
    elif text and _RULE.match(text):
      table = table or " " in text
      kept = ""
    elif directive := _DIRECTIVE.match(text):
      if directive[2] in _PROSE_DIRECTIVES | _VERSION_DIRECTIVES:
        yield from (kept, "")
        # A note's argument begins its text, which goes on indented, as a bullet's does; a version's is a number.
        kept = "" if directive[2] in _VERSION_DIRECTIVES else " " * indent + "- " + directive[3]
      else:
        skip_above = indent
    elif not table:
      if text.endswith("::"):
        skip_above = indent
        line = line.rstrip()[:-1]
      yield kept
      kept = line
  yield kept


def _paragraphs(lines: Iterable[str]) -> Iterator[str]:
  """Joins wrapped lines; a blank line, a bullet, a named argument or another indent begins a paragraph."""
  words, first, hanging = [], 0, False
  for line in lines:
    text = line.strip()
    indent = len(line) - len(line.lstrip())
    goes_on = indent > first if hanging else indent == first
    marker = _BULLET.match(text) or _FIELD.match(text)
    if indent <= first or not goes_on:
      marker = marker or _NAMED.match(text)
    if not text or marker or not goes_on:
      if words:
        yield " ".join(words)
      words, first, hanging = [], indent, bool(marker)
      text = text[marker.end() :] if marker else text
    if text:
      words.append(text)
  if words:
    yield " ".join(words)


def _reads_as_prose(text: str) -> bool:
  """At least four words, begun like a sentence, and hardly any symbols."""
  if text.count(" ") < 3 or not (text[0].isupper() or text[-1] in ".!?") or not text[0].isalnum():
    return False
  letters = sum(map(str.isalpha, text)) + text.count(" ")
  return letters >= 0.88 * len(text)
