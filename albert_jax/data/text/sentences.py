"""Paragraphs to sentences: one regular expression for the candidates, a few look-ups for the doubtful."""

import itertools
import re
from collections.abc import Iterator

from albert_jax.data.text.base import Source
from albert_jax.errors import InputError

LAYOUTS = ("sentences", "paragraphs")
MAX_SENTENCE = 1 << 20  # characters; bounds the memory that a tokenizer takes at a time

# A stop, what closes after it, and space; in scripts without spaces the full-width stop is enough.
_STOP = re.compile(r"""([.!?…])["'”’»)\]]*\s+(?=["'“‘«(\[¿¡]*(\w+))|[。！？]+[」』”’）]*(?=.)|[।۔؟]\s+""")


def _words(text: str) -> frozenset[str]:
  return frozenset(text.split())


# A name, a number or an example follows these, so they never end a sentence.
_NEVER = _words("""
  mr mrs ms dr prof rev hon st gen col capt lt sgt cpl cmdr maj adm gov sen rep pres messrs mme mlle fr
  e.g i.e eg ie vs viz cf approx ca
""")
# Abbreviations only before a number: "No. 5" and "Jan. 3", but "The answer was no. Then ...".
_BEFORE_NUMBER = _words("""
  no nos vol vols p pp fig figs ch sec art eq op opp bk c r jan feb mar apr jun jul aug sep sept oct nov dec
""")
# These may end a sentence: they do where the next word is one that often begins a sentence.
_DOUBTFUL = _words("""
  inc ltd co corp bros jr sr esq etc al ave blvd rd mt ft dept univ assn est ed eds trans
  jan feb mar apr jun jul aug sep sept oct nov dec
""")
_STARTERS = _words("""
  the a an in on at by from to for with of as and but or so yet if when while where after before since although
  though because during however it its he his she her they their we our you your i this that these those there
  here then thus some many most all both each several other another one two not no what who how why
""")


def split_sentences(text: str) -> list[str]:
  """Splits one paragraph of prose into sentences; the text between them is only white space."""
  sentences, start = [], 0
  for match in _STOP.finditer(text):
    if match[1] and not _ends_sentence(text, start, match):
      continue
    sentences.append(text[start : match.end()].strip())
    start = match.end()
  last = text[start:].strip()
  if last:
    sentences.append(last)
  return sentences


def _ends_sentence(text: str, start: int, match: re.Match) -> bool:
  """Whether a stop followed by space ends the sentence that began at `start`."""
  following = match[2]
  if following[0].islower():
    return False
  stop = match.start()
  if match[1] != ".":
    return True
  word = text[max(start, text.rfind(" ", start, stop) + 1) : stop].lstrip("([\"'“‘«")
  lower = word.lower()
  if lower in _NEVER:
    return False
  if following[0].isdigit() and lower in _BEFORE_NUMBER:
    return False
  initial = (len(word) == 1 and word.isupper()) or ("." in word[1:-1] and word.replace(".", "").isalpha())
  if initial or lower in _DOUBTFUL:
    return following.lower() in _STARTERS
  return not (word.isdigit() and not text[start:stop].removesuffix(word).strip())  # "1. The first item"


def detect_layout(source: Source, *, lines: int = 400) -> str:
  """Looks at the first lines: "sentences" if nearly every line already holds one, else "paragraphs"."""
  texts = (line for _, text in source.head.documents() for line in text.split("\n") if line.strip())
  sample = list(itertools.islice(texts, lines))
  single = sum(len(split_sentences(line)) == 1 for line in sample)
  return "sentences" if single >= 0.9 * len(sample) else "paragraphs"


def document_sentences(text: str, layout: str) -> list[str]:
  """The sentences of a document whose lines are sentences or paragraphs (`layout`).

  What is longer than MAX_SENTENCE, and so hardly a sentence, comes in several parts.
  """
  lines = [line for raw in text.split("\n") if (line := raw.strip())]
  if layout == "sentences":
    sentences = lines
  elif layout == "paragraphs":
    sentences = [sentence for line in lines for sentence in split_sentences(line)]
  else:
    raise InputError(f"Unknown layout {layout!r}: it is one of {', '.join(LAYOUTS)}.")
  if max(map(len, sentences), default=0) <= MAX_SENTENCE:
    return sentences
  return [part for sentence in sentences for part in _parts(sentence)]


def _parts(sentence: str) -> Iterator[str]:
  """Cuts a sentence, at a space where there is one in the second half of the allowed length."""
  start = 0
  while len(sentence) - start > MAX_SENTENCE:
    space = sentence.rfind(" ", start + MAX_SENTENCE // 2, start + MAX_SENTENCE)
    stop = space if space > 0 else start + MAX_SENTENCE
    yield sentence[start:stop]
    start = stop + (space > 0)
  yield sentence[start:]
