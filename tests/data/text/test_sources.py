import bz2
import gzip
import io
import json
import lzma
import os
import pickle

import pyarrow
import pyarrow.parquet
import pytest

from albert_jax.data.text import file_formats
from albert_jax.data.text.sources import open_source
from albert_jax.errors import InputError

TEXT = "First line.\nSecond – line.\n\n\nOther document.\n"
DOCUMENTS = ["First line.\nSecond – line.", "Other document."]


def zst(content: bytes) -> bytes:
  # Two frames, as parallel compressors write them.
  middle = len(content) // 2
  codec = pyarrow.Codec("zstd")
  return b"".join(codec.compress(part, asbytes=True) for part in (content[:middle], content[middle:]))


COMPRESS = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, ".zst": zst}


def texts(source):
  return [text for _, text in source.documents()]


def write(folder, name, content):
  path = folder / name
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_bytes(content if isinstance(content, bytes) else content.encode())
  return str(path)


def parquet(rows) -> bytes:
  file = io.BytesIO()
  pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), file)
  return file.getvalue()


@pytest.mark.parametrize("compression", COMPRESS)
def test_txt_documents_end_at_blank_lines(tmp_path, compression):
  path = write(tmp_path, "a.txt" + compression, COMPRESS[compression](TEXT.encode()))
  source = open_source(f"files:{path}")
  assert list(source.documents()) == list(zip([f"a.txt{compression}#0", f"a.txt{compression}#1"], DOCUMENTS))


@pytest.mark.parametrize("compression", COMPRESS)
def test_jsonl_has_a_document_a_line(tmp_path, compression):
  lines = "\n".join(json.dumps({"body": text, "text": "no"}) for text in DOCUMENTS)
  path = write(tmp_path, "a.jsonl" + compression, COMPRESS[compression](lines.encode()))
  assert texts(open_source(f"files:{path}", text_key="body")) == DOCUMENTS


def test_parquet_has_a_document_a_row(tmp_path):
  rows = [{"body": text} for text in [*DOCUMENTS, None, " ", *["more"] * 300]]
  source = open_source(f"files:{write(tmp_path, 'a.parquet', parquet(rows))}", text_key="body")
  assert texts(source) == [*DOCUMENTS, *["more"] * 300]
  assert [key for key, _ in source.documents()][:3] == ["a.parquet#0", "a.parquet#1", "a.parquet#4"]


@pytest.mark.parametrize(
  ("name", "content"),
  [
    ("a.md", "# Title\n\nFirst line.\nSecond – line.\n"),
    ("a.csv", 'id,text\n1,"# Title\nFirst line.\nSecond – line."\n\n2,\n'),
    ("a.csv.gz", gzip.compress('id,text\r\n1,"# Title\r\nFirst line.\r\nSecond – line."\r\n'.encode(), mtime=0)),
  ],
)
def test_markdown_and_csv(tmp_path, name, content):
  assert texts(open_source(f"files:{write(tmp_path, name, content)}")) == ["# Title\nFirst line.\nSecond – line."]


def test_tsv_takes_quotation_marks_as_they_are(tmp_path):
  path = write(tmp_path, "a.tsv", 'body\tid\r\nsaid "so\t1\r\n\r\nand "so"\t2')
  source = open_source(f"files:{path}", text_key="body")
  assert list(source.documents()) == [("a.tsv#0", 'said "so'), ("a.tsv#2", 'and "so"')]


@pytest.mark.parametrize(
  ("name", "content", "message"),
  [
    ("a.csv", "id,body\n1,x\n", "no field 'text'; there are 'id', 'body'"),
    ("a.csv", "id,text\n1,x,y\n", r"a\.csv:2: 3 values.*2 columns"),
    ("a.csv", 'id,text\n1,"x', r"a\.csv:2: .*"),
    ("a.tsv", "text\tid\nx\ny\t1\n", r"a\.tsv:2: 1 values.*2 columns"),
    ("a.csv", "", "there are none"),
  ],
)
def test_bad_tables(tmp_path, name, content, message):
  with pytest.raises(InputError, match=message):
    texts(open_source(f"files:{write(tmp_path, name, content)}"))


def test_nested_fields(tmp_path):
  rows = [{"meta": {"body": text}, "id": 1} for text in DOCUMENTS]
  write(tmp_path, "a.jsonl", "".join(json.dumps(row) + "\n" for row in [*rows, {"meta": None}]))
  write(tmp_path, "a.parquet", parquet([*rows, {"meta": None, "id": 2}]))
  for name in ("a.jsonl", "a.parquet"):
    assert texts(open_source(f"files:{tmp_path}/{name}", text_key="meta.body")) == DOCUMENTS
    for key, message in (("meta.text", "no field 'meta.text'.*meta.body"), ("meta", "not a string.*body")):
      with pytest.raises(InputError, match=message):
        open_source(f"files:{tmp_path}/{name}", text_key=key)
  dotted = write(tmp_path, "b.jsonl", json.dumps({"meta.body": "text"}))
  assert texts(open_source(f"files:{dotted}", text_key="meta.body")) == ["text"]


def test_a_folder_is_everything_readable_below_it(tmp_path):
  for name in ("b.txt", "a/c.md", "a/d.py", ".git/x.txt", ".hidden.txt"):
    write(tmp_path, name, name)
  os.mkfifo(tmp_path / "fifo.txt")
  for spec in (f"files:{tmp_path}", f"files:{tmp_path}/"):
    assert list(open_source(spec).documents()) == [("a/c.md#0", "a/c.md"), ("b.txt#0", "b.txt")]
  (tmp_path / "empty").mkdir()
  with pytest.raises(InputError, match="no file that can be read"):
    open_source(f"files:{tmp_path}/empty")


@pytest.mark.parametrize("compression", [".gz", ".bz2", ".xz", ".zst"])
def test_truncated_file_is_an_error(tmp_path, compression):
  content = COMPRESS[compression](os.urandom(50_000).hex().encode())[:-20]
  with pytest.raises(InputError, match=rf"a\.txt{compression}: cannot be read .*truncated or damaged"):
    texts(open_source(f"files:{write(tmp_path, 'a.txt' + compression, content)}"))


@pytest.mark.parametrize("name", ["a.txt.gz", "a.txt.bz2", "a.txt.xz", "a.txt.zst", "a.parquet"])
def test_damaged_file_is_an_error(tmp_path, name):
  with pytest.raises(InputError, match=f"{name}: cannot be read"):
    open_source(f"files:{write(tmp_path, name, 'no such format' * 10)}")


def test_glob_descends_in_sorted_order_with_relative_keys(tmp_path):
  for name in ["b/z.txt", "b/a.txt", "a/c/d.txt", "z.txt"]:
    write(tmp_path, name, name)
  source = open_source(f"files:{tmp_path}/**/*.txt")
  assert list(source.documents()) == [(f"{n}#0", n) for n in ["a/c/d.txt", "b/a.txt", "b/z.txt", "z.txt"]]
  assert source.shards == ("a/c/d.txt", "b/a.txt", "b/z.txt", "z.txt")


def test_a_file_named_like_a_glob(tmp_path):
  assert texts(open_source(f"files:{write(tmp_path, 'a[1].txt', 'text')}")) == ["text"]


def test_relative_path(tmp_path, monkeypatch):
  write(tmp_path, "a.txt", "text")
  monkeypatch.chdir(tmp_path)
  assert list(open_source("files:a.txt").documents()) == [("a.txt#0", "text")]


def test_byte_order_mark_and_windows_line_ends(tmp_path):
  path = write(tmp_path, "a.txt", b"\xef\xbb\xbfFirst.\r\nSecond.\r\n\r\nThird.\r\n")
  assert texts(open_source(f"files:{path}")) == ["First.\nSecond.", "Third."]


def test_control_characters_stay_for_the_tokenizer(tmp_path):
  assert texts(open_source(f"files:{write(tmp_path, 'a.txt', 'a' + chr(7) + 'b' + chr(0xFFFD))}")) == ["a\x07b\ufffd"]


def test_wrong_encoding_names_the_byte(tmp_path):
  path = write(tmp_path, "a.txt", b"Fine.\nCaf" + b"\xe9.\n")
  with pytest.raises(InputError, match=r"a\.txt: not UTF-8 at byte 9\. .*iconv"):
    texts(open_source(f"files:{path}"))


def test_utf16_without_a_mark_is_not_read_as_utf8(tmp_path):
  path = write(tmp_path, "a.txt", "Fine.".encode("utf-16-le"))
  with pytest.raises(InputError, match=r"a\.txt: a NUL at byte 1: .*UTF-16"):
    open_source(f"files:{path}")


def test_long_text_is_read_in_bounded_pieces(tmp_path, monkeypatch):
  path = write(tmp_path, "a.txt", "word word\n" * 10)
  monkeypatch.setattr(file_formats, "MAX_DOCUMENT", 30)
  assert list(map(len, texts(open_source(f"files:{path}")))) == [39, 39, 19]
  monkeypatch.setattr(file_formats, "MAX_LINE", 5)
  with pytest.raises(InputError, match="the line at byte 0 is longer"):
    open_source(f"files:{path}")


@pytest.mark.parametrize(
  ("line", "message"),
  [
    ("{'text': 1}", r"a\.jsonl:2 is damaged: it is not JSON"),
    ('{"text": ' + "[" * 100_000, r"a\.jsonl:2 is damaged: it is not JSON"),
    ('{"text": "a", "number": ' + "9" * 5000 + "}", r"a\.jsonl:2 is damaged: it is not JSON"),
    ('{"text": "a\\ud800b"}', r"a\.jsonl:2: the text has a lone surrogate at character 1"),
    ('["text"]', r"a\.jsonl:2 is damaged: it is a list, not an object"),
    ('{"title": "", "body": ""}', r"a\.jsonl:2: no field 'text'; there are 'title', 'body'"),
    ('{"text": ["a"]}', r"a\.jsonl:2: the text is a list, not a string"),
  ],
)
def test_bad_jsonl_line(tmp_path, line, message):
  path = write(tmp_path, "a.jsonl", '{"text": "fine"}\n' + line)
  with pytest.raises(InputError, match=message):
    texts(open_source(f"files:{path}"))


def test_parquet_without_the_column(tmp_path):
  with pytest.raises(InputError, match=r"a\.parquet: no field 'text'; there are 'body', 'title'"):
    open_source(f"files:{write(tmp_path, 'a.parquet', parquet([{'body': 'a', 'title': 'b'}]))}")


def test_parquet_that_is_not_utf8(tmp_path):
  buffers = [None, pyarrow.py_buffer(b"\0\0\0\0\2\0\0\0"), pyarrow.py_buffer(b"\xff\xfe")]
  path = tmp_path / "a.parquet"
  pyarrow.parquet.write_table(pyarrow.table({"text": pyarrow.Array.from_buffers(pyarrow.string(), 1, buffers)}), path)
  with pytest.raises(InputError, match=r"a\.parquet: cannot be read \('utf-8' codec"):
    texts(open_source(f"files:{path}"))


@pytest.mark.parametrize(
  ("spec", "message"),
  [
    ("pydocs", 'Unknown source .* "pydocs".*mean "pydoc"'),
    ("file:a.txt", 'Did you mean "files"'),
    ("files:", "'files:' names no text"),
    ("tfds", "'tfds' names no text"),
    ("qqq", 'Unknown source .* "qqq".*files, hub, pydoc, tfds'),
    ("a.txt", "write files:a.txt"),
    ("corpus/a", "write files:corpus/a"),
    ("*.txt", r"write files:\*.txt"),
    (".", r"write files:\."),
    ("files:/dev/zero", "/dev/zero is neither a file nor a folder"),
    ("files:/nowhere/a.txt", "There is no file '/nowhere/a.txt'"),
    ("files:/nowhere/*.txt", r"No file matches '/nowhere/\*.txt'"),
  ],
)
def test_bad_spec(spec, message):
  with pytest.raises(InputError, match=message):
    open_source(spec)


@pytest.mark.parametrize("name", ["a.doc", "a.doc.gz", "a.parquet.gz", "a"])
def test_unknown_kind_of_file(tmp_path, name):
  with pytest.raises(InputError, match="unknown kind of file"):
    open_source(f"files:{write(tmp_path, name, 'text')}")


@pytest.mark.parametrize(("name", "content"), [("a.txt", "\n \n"), ("a.jsonl", '{"text": " "}\n')])
def test_empty_corpus(tmp_path, name, content):
  with pytest.raises(InputError, match="holds no text"):
    open_source(f"files:{write(tmp_path, name, content)}")


def test_fingerprint_follows_the_files(tmp_path):
  path = write(tmp_path, "a.txt", "text")
  spec = f"files:{tmp_path}/*.txt"
  first = open_source(spec).fingerprint
  assert open_source(spec).fingerprint == first
  assert open_source(spec, text_key="body").fingerprint != first
  os.utime(path, ns=(1, 1))
  touched = open_source(spec).fingerprint
  write(tmp_path, "b.txt", "text")
  assert len({first, touched, open_source(spec).fingerprint}) == 3


def test_source_pickles(tmp_path):
  source = open_source(f"files:{write(tmp_path, 'a.txt', TEXT)}")
  copy = pickle.loads(pickle.dumps(source))
  assert copy.fingerprint == source.fingerprint
  assert texts(copy) == DOCUMENTS


def test_pydoc_reads_the_packages_that_are_named():
  some = open_source("pydoc:optax,absl")
  assert some.spec == "pydoc:optax,absl"
  assert some.shards == ("optax", "absl")
  assert all(key.startswith(("optax/", "absl/")) for key, _ in some.documents())
  assert len({open_source(spec).fingerprint for spec in ("pydoc:optax,absl", "pydoc:optax", "pydoc:absl")}) == 3
  with pytest.raises(InputError, match='Did you mean "optax"'):
    open_source("pydoc:optaxx")
