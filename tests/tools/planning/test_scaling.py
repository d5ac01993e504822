import pytest

from albert_jax.errors import InputError
from albert_jax.tools.planning import scaling
from albert_jax.tools.planning.chips import SHAPES
from albert_jax.tools.planning.compiled import Choice


@pytest.fixture
def points(monkeypatch, make_step):
  """Of a slice family whose smallest slice is too small."""
  from configs import albert_base

  def compile_step(config, devices, memory, choice, effort):
    assert config.train.batch_size == 16 * choice.data * choice.fsdp
    return make_step(choice, activations=4e9 if len(devices) > 8 else 1e15)

  monkeypatch.setattr(scaling, "open_devices", lambda name: [None] * _product(name))
  monkeypatch.setattr(scaling, "compile_step", compile_step)
  said = []
  found = scaling.scale(albert_base.get_config(), "v5e:16x16", Choice(64, 4, 1, 1, "dots"), said.append)
  assert "v5e:2x4 needs" in said[0]
  return found


def _product(name):
  a, b = name.partition(":")[2].split("x")
  return int(a) * int(b)


def test_slices_grow_and_rows_of_a_chip_stay(points):
  assert [point.chips for point in points] == [16, 32, 64, 128, 256]
  assert {point.batch_size // point.chips for point in points} == {16}
  assert {point.compiled.choice.fsdp for point in points} == {4}


@pytest.mark.parametrize(("axes", "largest"), [(2, 256), (3, 1024)])
def test_slices_double_from_8_chips_to_the_largest(axes, largest):
  sizes = []
  for shape in SHAPES[axes]:
    size = 1
    for length in shape.split("x"):
      size *= int(length)
    assert shape.count("x") == axes - 1
    sizes.append(size)
  assert sizes == [2**power for power in range(3, largest.bit_length())]


def test_table(points):
  lines = scaling.table(points).splitlines()
  assert lines[2] == "| v5e:4x4 | 16 | 256 | 2,002.72 | 0.95 | 178.81 | 286.10 |"
  assert len(lines) == 2 + len(points)


def test_picture_whole_or_not_at_all(points, tmp_path):
  scaling.draw(points, "albert_base", str(tmp_path / "new" / "plan.png"))
  assert [path.name for path in (tmp_path / "new").iterdir()] == ["plan.png"]
  with pytest.raises(InputError, match="--picture="):
    scaling.draw(points, "albert_base", str(tmp_path / "new" / "plan.doc"))
  assert [path.name for path in (tmp_path / "new").iterdir()] == ["plan.png"]
