import numpy as np
import pytest

from albert_jax.data.finetuning.tables import find_classes, find_labels, find_scores, read_table
from albert_jax.errors import InputError


def write(path, content):
  path.write_bytes(content if isinstance(content, bytes) else content.encode())
  return path


def test_tsv_has_no_quoting(tmp_path):
  content = 'text\tnote\tlabel\n"quoted\tx\t1\n\n\u2028odd\x85 "line\t\t0\r\n\ty\t1\n'
  table = read_table(write(tmp_path / "a.tsv", content), ("label", "text"))
  assert table.columns == {"label": ["1", "0", "1"], "text": ['"quoted', '\u2028odd\x85 "line', ""]}
  assert table.lines == [2, 4, 5]


def test_csv_may_quote_and_span_lines(tmp_path):
  content = 'text,label\n"a, ""b""\nc",1\n\nd,0\n' + "e" * 200_000 + ",1\n"
  table = read_table(write(tmp_path / "a.csv", content), ("text", "label"))
  assert table.columns["text"] == ['a, "b"\nc', "d", "e" * 200_000]
  assert table.lines == [2, 5, 6]


def test_jsonl_takes_text_and_numbers(tmp_path):
  content = '{"text": "a\\tb", "label": 1}\n\n{"label": "x", "text": "", "more": []}\n'
  table = read_table(write(tmp_path / "a.jsonl", content), ("text", "label"))
  assert table.columns == {"text": ["a\tb", ""], "label": ["1", "x"]}
  assert table.lines == [1, 3]


def test_a_header_may_be_given_and_a_byte_order_mark_is_none_of_the_text(tmp_path):
  table = read_table(write(tmp_path / "a.tsv", b"\xef\xbb\xbfp\tq\nr\ts\n"), ("two",), header=("one", "two"))
  assert table.columns == {"two": ["q", "s"]}
  assert read_table(write(tmp_path / "b.tsv", b"\xef\xbb\xbfone\ttwo\nr\ts\n"), ("one",)).columns == {"one": ["r"]}


def test_short_rows_are_skipped_only_on_request_and_told(tmp_path, capsys):
  path = write(tmp_path / "a.tsv", "a\tb\n1\t2\n3\n4\t5\n")
  assert read_table(path, ("a",), skip_short=True).columns == {"a": ["1", "4"]}
  assert "skipped 1 rows" in capsys.readouterr().err
  with pytest.raises(InputError, match=r"a\.tsv:3: 1 values, but there are 2 columns \(a, b\)"):
    read_table(path, ("a",))


@pytest.mark.parametrize(
  ("name", "content", "message"),
  [
    ("a.tsv", None, r"a\.tsv cannot be read: No such file"),
    ("a.tsv", "", r"a\.tsv is empty"),
    ("a.tsv", "text\tlabel\n", r"a\.tsv has no rows"),
    ("a.tsv", "txet\tlabel\nx\t1\n", r"no column 'text'; its columns are txet, label"),
    ("a.tsv", "text\tlabel\nx\t1\t2\n", r"a\.tsv:2: 3 values"),
    ("a.csv", "text,label,text\na,1,b\n", r"a\.csv has two columns 'text'"),
    ("a.tsv", b"text\tlabel\nx\xff\t1\n", r"a\.tsv is not UTF-8 at byte 12"),
    ("a.csv", 'text,label\na,1\n"b,1\n', r"a\.csv:3: unexpected end of data"),
    ("a.csv", "text,label\na\n", r"a\.csv:2: 1 values"),
    ("a.jsonl", "", r"a\.jsonl has no rows"),
    ("a.jsonl", '{"text": "a", "label": 1}\n{"text"\n', r"a\.jsonl:2 is damaged: it is not JSON"),
    ("a.jsonl", '{"text": "\\ud800", "label": 1}\n', r"a\.jsonl:1: text holds half of a surrogate"),
    ("a.jsonl", "[" * 100_000 + "\n", r"a\.jsonl:1 is damaged: it is not JSON"),
    ("a.jsonl", "[1]\n", r"a\.jsonl:1 is damaged: it is a list, not an object"),
    ("a.jsonl", '{"text": "a", "lable": 1}\n', r"a\.jsonl:1: it lacks 'label'; its keys are text, lable"),
    ("a.jsonl", '{"text": null, "label": 1}\n', r"a\.jsonl:1: text is null, not text or a number"),
  ],
)
def test_mistakes_are_named(tmp_path, name, content, message):
  path = tmp_path / name
  if content is not None:
    write(path, content)
  with pytest.raises(InputError, match=message):
    read_table(path, ("text", "label"))


def test_labels_and_scores(tmp_path):
  table = read_table(write(tmp_path / "a.tsv", "label\tscore\nyes\t0.5\nno\t-1e1\n"), ("label", "score"))
  labels, scores = find_labels(table, "label", ("no", "yes")), find_scores(table, "score")
  assert labels.tolist() == [1, 0]
  assert scores.tolist() == [0.5, -10.0]
  assert (labels.dtype, scores.dtype) == (np.int32, np.float32)
  with pytest.raises(InputError, match=r"a\.tsv:3: unknown label 'no' in column 'label'; the labels are yes, maybe"):
    find_labels(table, "label", ("yes", "maybe"))


@pytest.mark.parametrize("value", ["high", "", "nan", "inf", "1e39", "-3.5e38"])
def test_a_score_is_a_finite_number(tmp_path, value):
  table = read_table(write(tmp_path / "a.tsv", f"score\tx\n1\tx\n{value}\tx\n"), ("score",))
  with pytest.raises(InputError, match=rf"a\.tsv:3: '{value}' in column 'score' is not a number"):
    find_scores(table, "score")


def labelled(path, values):
  return read_table(write(path, "label\tx\n" + "".join(f"{value}\tx\n" for value in values)), ("label",))


def test_classes_are_the_values_sorted(tmp_path):
  assert find_classes(labelled(tmp_path / "a.tsv", ["no", "yes", "none", "no"]), "label") == ("no", "none", "yes")
  assert find_classes(labelled(tmp_path / "b.tsv", ["2", "10", "-1"]), "label") == ("-1", "10", "2")


@pytest.mark.parametrize("value", ["", " ", "NaN", "nan", "NAN", "None", "null", "N/A", "<NA>"])
def test_a_missing_label_is_no_class(tmp_path, value):
  table = labelled(tmp_path / "a.tsv", ["yes", value, "no"])
  with pytest.raises(InputError, match=rf"a\.tsv:3: no label in column 'label', but '{value}'.*--config\.data\.labels"):
    find_classes(table, "label")


@pytest.mark.parametrize(
  "pair", [("1", "1.0"), ("0", "-0"), ("2", "02"), ("yes", "Yes"), ("yes", "yes "), ("1", "1e0")]
)
def test_one_class_written_in_two_ways_is_not_two_classes(tmp_path, pair):
  table = labelled(tmp_path / "a.tsv", [pair[1], "other", pair[0]])
  with pytest.raises(InputError, match=r"differ only in how they are written.*--config\.data\.labels") as error:
    find_classes(table, "label")
  assert all(repr(value) in str(error.value) for value in pair)
  assert find_labels(table, "label", (*pair, "other")).tolist() == [1, 2, 0]  # whoever names them has them


def test_numbers_of_json_are_told_apart_as_they_are_written(tmp_path):
  rows = ('{"label": 1}', '{"label": 1.0}', '{"label": 0}')
  with pytest.raises(InputError, match=r"'1' \(line 1\) and '1\.0' \(line 2\)"):
    find_classes(read_table(write(tmp_path / "a.jsonl", "\n".join(rows)), ("label",)), "label")
  for value in ("NaN", "Infinity", "1e999", "null", "[]"):
    with pytest.raises(InputError, match=r"a\.jsonl:2: label is .*, not text or a number"):
      read_table(write(tmp_path / "a.jsonl", f'{rows[0]}\n{{"label": {value}}}'), ("label",))
