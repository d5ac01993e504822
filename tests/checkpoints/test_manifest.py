"""Every change to a folder is noticed, whatever the change; nothing is read through a link."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from albert_jax.checkpoints import manifest
from albert_jax.errors import InputError


@pytest.fixture
def folder(tmp_path):
  folder = tmp_path / "5"
  (folder / "arrays" / "d").mkdir(parents=True)
  (folder / "empty").write_bytes(b"")
  (folder / "text").write_text("one\n")
  (folder / "arrays" / "d" / "ä").write_bytes(bytes(range(256)))
  manifest.write(folder)
  return folder


def test_an_untouched_folder_has_no_problem(folder):
  assert manifest.problem(folder) is None
  shutil.copytree(folder, folder.parent / "copy" / "5")
  assert manifest.problem(folder.parent / "copy" / "5") is None


def test_another_name_is_noticed(folder):
  other = folder.rename(folder.with_name("6"))
  assert manifest.problem(other) == f"{manifest.FILE} is that of 5: the folder was renamed"


def test_a_manifest_of_an_earlier_version_has_no_name(folder):
  records = json.loads((folder / manifest.FILE).read_text())
  del records["."]
  (folder / manifest.FILE).write_text(json.dumps(records))
  assert manifest.problem(folder.rename(folder.with_name("6"))) is None


def test_a_flipped_bit_is_noticed_wherever_it_is(folder):
  for name in ("text", "arrays/d/ä", manifest.FILE):
    path, data = folder / name, (folder / name).read_bytes()
    for index in range(len(data)):
      path.write_bytes(data[:index] + bytes([data[index] ^ 1 << index % 8]) + data[index + 1 :])
      problem = manifest.problem(folder)
      assert problem, (name, index)
      if name != manifest.FILE:
        assert problem == f"{name} has other bytes than were written"
    path.write_bytes(data)
  assert manifest.problem(folder) is None


def test_a_manifest_cut_off_anywhere_is_noticed(folder):
  data = (folder / manifest.FILE).read_bytes()
  for length in range(len(data)):
    (folder / manifest.FILE).write_bytes(data[:length])
    assert manifest.problem(folder) == f"{manifest.FILE} is damaged"


def link(path, target):
  path.unlink()
  path.symlink_to(target)


@pytest.mark.parametrize(
  ("change", "message"),
  [
    (lambda folder: (folder / "text").write_text("on"), "text has another size than when it was written"),
    (lambda folder: (folder / "text").write_text(""), "text has another size than when it was written"),
    (lambda folder: (folder / "text").unlink(), "text is missing"),
    (lambda folder: shutil.rmtree(folder / "arrays"), "arrays/d/ä is missing"),
    (lambda folder: [path.unlink() for path in folder.iterdir() if path.is_file()], "manifest.json is missing"),
    (lambda folder: (folder / "arrays" / "more").touch(), "arrays/more was added"),
    (lambda folder: [(folder / name).touch() for name in "abc"], "a was added, and 2 more"),
    (lambda folder: (folder / "text").rename(folder / "other"), "text is missing"),
    (lambda folder: link(folder / "text", folder / "empty"), "text is not a plain file"),
    (lambda folder: link(folder / manifest.FILE, folder / "text"), "manifest.json is not a plain file"),
    (lambda folder: (folder / "up").symlink_to("..", target_is_directory=True), "up is not a plain file"),
    (lambda folder: os.mkfifo(folder / "pipe"), "pipe is not a plain file"),  # opening it would hang
  ],
)
def test_a_change_is_named(folder, change, message):
  change(folder)
  assert manifest.problem(folder).startswith(message)


def test_a_linked_or_missing_folder_is_a_problem(folder):
  folder.with_name("6").symlink_to(folder, target_is_directory=True)
  assert manifest.problem(folder.with_name("6")) == "6 is a symbolic link"
  assert "No such file" in manifest.problem(folder.with_name("7"))


def test_links_are_not_read(folder, tmp_path, monkeypatch):
  (tmp_path / "one").write_text("one\n")  # the same bytes do not help
  link(folder / "text", tmp_path / "one")
  monkeypatch.setattr(manifest, "_hash", lambda path: pytest.fail(f"read {path}"))
  assert manifest.problem(folder)


def test_an_unreadable_file_is_a_problem(folder, monkeypatch):
  def fail(path):
    raise OSError(5, "Input/output error", str(path))

  monkeypatch.setattr(manifest, "_hash", fail)
  assert manifest.problem(folder).endswith("cannot be read: Input/output error")


@pytest.mark.parametrize(
  "text",
  ["[]", "1", "{", "[" * 100_000, '{"text": 1}', '{"text": {"size": 4}}', '{"text": [4, "x"]}', "\xff"],
)
def test_what_is_no_manifest_is_refused(folder, text):
  (folder / manifest.FILE).write_text(text, encoding="latin-1")
  assert manifest.problem(folder) == f"{manifest.FILE} is damaged"


def test_a_node_of_another_type_is_refused(folder):
  records = json.loads((folder / manifest.FILE).read_text())
  for name in records:
    for key in (None, "size", "sha256"):
      for value in (None, True, 1.5, -1, 2**70, "x", [], {}):
        other = records | {name: value if key is None else records[name] | {key: value}}
        (folder / manifest.FILE).write_text(json.dumps(other))
        assert manifest.problem(folder), (name, key, value)


def test_names_outside_the_folder_are_only_missing(folder, tmp_path):
  (tmp_path / "one").write_text("one\n")
  for name in ("../one", str(tmp_path / "one")):
    (folder / manifest.FILE).write_text(f'{{"{name}": {{"size": 4, "sha256": ""}}}}')
    assert manifest.problem(folder) == f"{name} is missing"


def test_an_oversized_manifest_is_not_read(folder, monkeypatch):
  monkeypatch.setattr(manifest, "_LARGEST", 10)
  assert manifest.problem(folder) == f"{manifest.FILE} is damaged"


def test_links_are_not_recorded(folder):
  (folder / "link").symlink_to("text")
  with pytest.raises(InputError, match="link is not a plain file"):
    manifest.write(folder)


def test_the_command_accepts_the_files_as_they_are(folder):
  (folder / "text").write_text("changed")
  command = [sys.executable, "-m", "albert_jax.checkpoints.manifest"]
  subprocess.run([*command, str(folder)], check=True)
  assert manifest.problem(folder) is None
  mistake = subprocess.run([*command, str(folder / "nowhere")], capture_output=True, text=True)
  assert mistake.returncode == 1
  assert mistake.stderr.startswith("error: ")
