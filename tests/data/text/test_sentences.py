import pytest

from albert_jax.data.text import sentences
from albert_jax.data.text.sentences import detect_layout, document_sentences, split_sentences
from albert_jax.data.text.sources import open_source
from albert_jax.errors import InputError


@pytest.mark.parametrize(
  "marked",
  [
    "It rained. | We stayed in.",
    "Really?! | Yes! | No…",
    "Who is J? | Ask him.",
    "He met [Mr. Smith] there.",
    'He said "Stop." | Then he left. | (Nobody saw.) | [1] It ended.',
    "“Is it?” | ‘It is.’ | «Oui.» | Fine.",
    "Mr. Smith met Dr. Jones and Prof. X. Y. Zhu at St. Mary's.",
    "J. R. R. Tolkien wrote it. | C. S. Lewis read it.",
    "The U.S. Navy came. | He left the U.S. | The rest stayed.",
    "Use fruit, e.g. Apples, i.e. Malus, vs. Pears.",
    "It grew by 3.5 percent in 2.0 years. | 7 years went by.",
    "See No. 5, pp. 10 and Fig. 2. | The answer was no. | Then they left.",
    "On Jan. 5 it began. | It ended in Jan. | The rest followed.",
    "Acme Inc. Reported a loss. | He works at Acme Inc. | They pay well.",
    "Well... maybe not. | Wait... | What?",
    "1. The first item. | It has two sentences.",
    "It lasted until 1998. | Prices fell.",
    "He uses vitamin C. | The others do not.",
    "Version 1.2.3 of example.com is out.",
    "Она пришла. | Он ушёл.",
    "今日は晴れ。| 明日は雨？| 「はい。」| 終わり",
    "यह एक है। | वह दो है।",
    "no capital follows. so this stays whole",
  ],
)
def test_split(marked):
  assert split_sentences(marked.replace("| ", "").replace("|", "")) == [part.strip() for part in marked.split("|")]


@pytest.mark.parametrize("text", ["", "   ", "\t"])
def test_nothing_to_split(text):
  assert split_sentences(text) == []


def test_no_character_is_lost():
  text = 'A b. C d! (E f.) "G h?" I. J. k; Mr. L... M? N.   O\tp. 3 q.'
  assert "".join("".join(split_sentences(text)).split()) == "".join(text.split())


def layout_of(tmp_path, text):
  (tmp_path / "a.txt").write_text(text)
  return detect_layout(open_source(f"files:{tmp_path}/a.txt"))


def test_detects_one_sentence_a_line(tmp_path):
  lines = ["This is a sentence.", "Here is another one, e.g. with Mr. Smith."] * 20
  lines[3] = "This one. Slipped through."
  assert layout_of(tmp_path, "\n".join(lines)) == "sentences"


def test_detects_paragraphs(tmp_path):
  lines = ["A heading", "Some lines are short."] + ["It has two. Or three. Sentences."] * 3
  assert layout_of(tmp_path, "\n".join(lines * 10)) == "paragraphs"


def test_layout_decides_what_a_line_is():
  text = " One. Two.\n\nThree. \n"
  assert document_sentences(text, "sentences") == ["One. Two.", "Three."]
  assert document_sentences(text, "paragraphs") == ["One.", "Two.", "Three."]
  with pytest.raises(InputError, match=r"Unknown layout 'auto'.*sentences, paragraphs"):
    document_sentences(text, "auto")


def test_what_is_too_long_for_a_sentence_comes_in_parts(monkeypatch):
  monkeypatch.setattr(sentences, "MAX_SENTENCE", 10)
  for layout in ("sentences", "paragraphs"):
    assert (
      document_sentences("one two three. Four five\nabcdefghijklmnopqrstuvw\nsix", layout)
      == {
        "sentences": ["one two", "three.", "Four five", "abcdefghij", "klmnopqrst", "uvw", "six"],
        "paragraphs": ["one two", "three.", "Four five", "abcdefghij", "klmnopqrst", "uvw", "six"],
      }[layout]
    )
