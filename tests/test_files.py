import pytest

from albert_jax.files import new_file


def names(folder) -> list[str]:
  return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_whole(tmp_path):
  path = tmp_path / "new" / "a.json"
  with new_file(path) as temporary:
    temporary.write_text("new")
    assert temporary.suffix == ".json"
    assert not path.exists()
  assert path.read_text() == "new"
  assert names(path.parent) == ["a.json"]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
  path = tmp_path / "a.json"
  path.write_text("old")

  def fail():
    with new_file(path) as temporary:
      temporary.write_text("ne")
      raise OSError("full")

  with pytest.raises(OSError, match="full"):
    fail()
  assert path.read_text() == "old"
  assert names(tmp_path) == ["a.json"]
