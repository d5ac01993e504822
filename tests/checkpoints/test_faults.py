"""A damaged checkpoint is noticed and left out; one that fails to be written says so, and costs no other."""

import gc
import os
import shutil
import time
import types
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from albert_jax.checkpoints import manager, manifest, sealed
from albert_jax.checkpoints.manager import Checkpoints
from albert_jax.errors import InputError


class State(NamedTuple):
  """Stands in for a train state."""

  step: jax.Array
  params: dict
  opt: tuple


def make_state(step: int) -> State:
  kernel_DD = jax.random.normal(jax.random.key(step), [32, 32])
  params = {"kernel": kernel_DD, "bias": jnp.full([5], step, jnp.float32)}
  return State(jnp.int32(step), params, ({"mu": kernel_DD / 3},))


def specs() -> State:
  place = jax.sharding.SingleDeviceSharding(jax.devices()[0])
  return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place), make_state(0))


def save(workdir, *steps: int, **options) -> None:
  checkpoints = Checkpoints(workdir, **options)
  for step in steps:
    checkpoints.save(make_state(step), step)
  checkpoints.close()


def assert_restored(restored: State, step: int) -> None:
  for a, b in zip(jax.tree.leaves(restored), jax.tree.leaves(make_state(step)), strict=True):
    np.testing.assert_array_equal(a, b)


@pytest.fixture(scope="session")
def saved(tmp_path_factory):
  workdir = tmp_path_factory.mktemp("saved")
  save(workdir, 1, 2, keep=5)
  return workdir


@pytest.fixture
def workdir(saved, tmp_path):
  """Has checkpoints of the steps 1 and 2."""
  return shutil.copytree(saved, tmp_path / "run")


def folder_of(workdir, step: int):
  return workdir / manager.FOLDER / str(step)


def files(folder) -> list:
  return sorted(path for path in folder.rglob("*") if path.is_file())


def flip(path, _) -> None:
  data = bytearray(path.read_bytes())
  data[len(data) // 2] ^= 4
  path.write_bytes(data)


def link(path, elsewhere) -> None:
  path.rename(elsewhere)
  path.symlink_to(elsewhere)


FAULTS = {
  "flip": flip,
  "truncate": lambda path, _: os.truncate(path, path.stat().st_size - 1),
  "delete": lambda path, _: path.unlink(),
  "empty": lambda path, _: path.write_bytes(b""),
  "link": link,
  "add": lambda path, _: path.with_name("more").touch(),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_any_file_is_noticed_and_the_step_before_is_restored(saved, tmp_path, capsys, fault):
  names = [path.relative_to(saved) for path in files(folder_of(saved, 2))]
  assert len(names) > 10
  for number, name in enumerate(names):
    workdir = shutil.copytree(saved, tmp_path / str(number))
    FAULTS[fault](workdir / name, tmp_path / "elsewhere")
    read_only = number % 2 == 0
    checkpoints = Checkpoints(workdir, read_only=read_only)
    assert checkpoints.latest() == 1, name
    assert_restored(checkpoints.restore(specs()), 1)
    warnings = capsys.readouterr().err
    assert f"{folder_of(workdir, 2)} is damaged, and is " in warnings
    if name.name != manifest.FILE:  # whose faults may look like those of other files
      assert ("more was added" if fault == "add" else name.relative_to(f"{manager.FOLDER}/2").as_posix()) in warnings
    assert sorted(os.listdir(checkpoints.folder)) == ["1", "2" if read_only else "damaged-2-1"]
    assert_restored(Checkpoints(workdir).restore(specs()), 1)
    (tmp_path / "elsewhere").unlink(missing_ok=True)


def test_a_damaged_step_that_is_asked_for_is_refused(workdir):
  flip(files(folder_of(workdir, 1))[0], None)
  checkpoints = Checkpoints(workdir)
  for read in (lambda: checkpoints.restore(specs(), 1), lambda: checkpoints.restore_params(specs().params, 1)):
    with pytest.raises(InputError, match=r"checkpoints/1 is damaged: .*albert_jax.checkpoints.manifest"):
      read()
  assert checkpoints.latest() == 2
  assert sorted(os.listdir(checkpoints.folder)) == ["1", "2"]


def test_several_damaged_steps_are_left_out(workdir, capsys):
  save(workdir, 3, 4, keep=5)
  flip(files(folder_of(workdir, 4))[0], None)
  (folder_of(workdir, 3) / manifest.FILE).unlink()
  (workdir / manager.FOLDER / "damaged-3-1").mkdir()
  checkpoints = Checkpoints(workdir)
  assert_restored(checkpoints.restore(specs()), 2)
  assert len(capsys.readouterr().err.splitlines()) == 2
  assert sorted(os.listdir(checkpoints.folder)) == ["1", "2", "damaged-3-1", "damaged-3-2", "damaged-4-1"]
  assert checkpoints.latest() == 2
  assert not capsys.readouterr().err


def test_a_run_without_an_undamaged_checkpoint_is_refused_and_left_as_it_is(workdir):
  for step in (1, 2):
    flip(files(folder_of(workdir, step))[-1], None)
  before = files(workdir)
  for read in (Checkpoints.latest, lambda checkpoints: checkpoints.restore(specs())):
    with pytest.raises(InputError, match=r"All checkpoints in .*\[1, 2\].*albert_jax.checkpoints.manifest"):
      read(Checkpoints(workdir))
  assert files(workdir) == before


def test_damage_that_comes_while_a_run_saves_is_left_out_in_place(workdir, capsys):
  checkpoints = Checkpoints(workdir, keep=5)
  checkpoints.save(make_state(3), 3)
  checkpoints.wait()
  flip(files(folder_of(workdir, 3))[0], None)
  assert checkpoints.latest() == 2
  assert "checkpoints/3 is damaged, and is left out" in capsys.readouterr().err
  checkpoints.save(make_state(4), 4)
  checkpoints.close()
  assert Checkpoints(workdir).latest() == 4


def test_files_are_read_once(workdir, monkeypatch):
  read = []
  hash_file = manifest._hash
  monkeypatch.setattr(manifest, "_hash", lambda path: read.append(path) or hash_file(path))
  checkpoints = Checkpoints(workdir)
  checkpoints.restore(specs(), checkpoints.latest())
  checkpoints.restore(specs())
  assert sorted(read) == [path for path in files(folder_of(workdir, 2)) if path.name != manifest.FILE]


def test_a_run_reaches_a_damaged_step_again(workdir):
  flip(files(folder_of(workdir, 2))[-1], None)
  checkpoints = Checkpoints(workdir, keep=2)
  assert checkpoints.latest() == 1
  checkpoints.save(make_state(20), 2)  # tells it from what was there
  checkpoints.wait()
  assert_restored(checkpoints.restore(specs()), 20)
  checkpoints.save(make_state(3), 3)
  checkpoints.close()
  assert sorted(os.listdir(checkpoints.folder)) == ["2", "3", "damaged-2-1"]


def test_a_step_is_replaced(workdir):
  checkpoints = Checkpoints(workdir, keep=5)
  assert checkpoints.latest() == 2
  for state in (20, 21):
    checkpoints.save(make_state(state), 2)
  flip(files(folder_of(workdir, 1))[0], None)
  checkpoints.close()
  assert_restored(checkpoints.restore(specs()), 21)
  assert sorted(os.listdir(checkpoints.folder)) == ["1", "2"]


def test_what_a_link_points_to_is_never_shown(workdir, tmp_path, capfd, caplog):
  (tmp_path / "secret").write_text("password")
  metadata = folder_of(workdir, 1) / "_CHECKPOINT_METADATA"
  metadata.unlink()
  metadata.symlink_to(tmp_path / "secret")
  checkpoints = Checkpoints(workdir)
  checkpoints.restore(specs(), checkpoints.latest())
  checkpoints.save(make_state(3), 3)
  checkpoints.close()
  assert "password" not in "".join(capfd.readouterr()) + caplog.text


def test_half_written_steps_are_ignored_and_removed(workdir):
  folder = workdir / manager.FOLDER
  for name in ("3", "4/default/d", "5.orbax-checkpoint-tmp/default.orbax-checkpoint-tmp"):
    (folder / name).mkdir(parents=True)
  shutil.copytree(folder / "2", folder / "6.whole.orbax-checkpoint-tmp")
  before = sorted(os.listdir(folder))
  assert Checkpoints(workdir, read_only=True).latest() == 2
  assert sorted(os.listdir(folder)) == before
  assert Checkpoints(workdir).latest() == 2
  assert sorted(os.listdir(folder)) == ["1", "2"]


def test_a_half_written_step_may_vanish_while_it_is_removed(workdir, monkeypatch):
  folder = workdir / manager.FOLDER / "3.orbax-checkpoint-tmp"
  folder.mkdir()
  remove = shutil.rmtree
  monkeypatch.setattr(shutil, "rmtree", lambda path: remove(path) or os.rmdir(path))
  assert Checkpoints(workdir).latest() == 2
  assert not folder.exists()


def test_a_run_killed_in_its_first_save_starts_anew(tmp_path):
  (tmp_path / manager.FOLDER / "1").mkdir(parents=True)
  assert Checkpoints(tmp_path).latest() is None


FULL = OSError(28, os.strerror(28))


@pytest.mark.parametrize("place", ["manifest", "arrays", "start"])
@pytest.mark.parametrize("surfaces", ["save", "wait", "close"])
@pytest.mark.parametrize(("error", "kind"), [(FULL, InputError), (RuntimeError("a bug"), RuntimeError)])
def test_an_error_in_the_background_surfaces_and_costs_no_other_step(
  workdir, monkeypatch, capfd, caplog, place, surfaces, error, kind
):
  owner, name = {
    "manifest": (manifest, "write"),
    "arrays": (manager.ocp.PyTreeCheckpointHandler, "finalize"),
    "start": (manager.ocp.PyTreeCheckpointHandler, "async_save"),
  }[place]

  def fail(*_, **__):
    raise error

  checkpoints = Checkpoints(workdir)
  finish = {"save": lambda: checkpoints.save(make_state(4), 4), "wait": checkpoints.wait, "close": checkpoints.close}

  def save_and_finish() -> None:
    checkpoints.save(make_state(3), 3)
    finish[surfaces]()

  with monkeypatch.context() as patch:
    patch.setattr(owner, name, fail)
    with pytest.raises(kind, match=r"/checkpoints is full: .* Make room|a bug"):
      save_and_finish()
  checkpoints.close()  # tells it once
  gc.collect()  # of coroutines whose fault nobody has asked for
  assert "Traceback" not in "".join(capfd.readouterr()) + caplog.text

  again = Checkpoints(workdir, keep=5)
  assert sorted(os.listdir(again.folder)) == ["1", "2"]
  assert again.latest() == 2
  again.save(make_state(3), 3)
  again.close()
  assert Checkpoints(workdir).latest() == 3


def test_a_step_has_its_name_only_with_its_manifest(workdir, monkeypatch):
  written = manifest.write

  def check(folder, *, name):
    assert not folder_of(workdir, 3).exists()
    written(folder, name=name)
    assert not folder_of(workdir, 3).exists()

  monkeypatch.setattr(manifest, "write", check)
  save(workdir, 3, keep=5)
  assert manifest.problem(folder_of(workdir, 3)) is None


def test_the_last_save_is_on_disk_when_close_returns(workdir, monkeypatch):
  written = manifest.write
  monkeypatch.setattr(manifest, "write", lambda folder, **name: time.sleep(0.5) or written(folder, **name))
  checkpoints = Checkpoints(workdir)
  checkpoints.save(make_state(3), 3)
  assert not folder_of(workdir, 3).exists()  # the step goes on meanwhile
  checkpoints.close()
  assert manifest.problem(folder_of(workdir, 3)) is None


def test_a_step_that_cannot_be_read_back_gets_neither_manifest_nor_name(workdir, monkeypatch):
  with monkeypatch.context() as patch:
    patch.setattr(sealed.ocp.PyTreeCheckpointHandler, "metadata", lambda self, path: types.SimpleNamespace(tree={}))
    with pytest.raises(OSError, match="cannot be read back"):
      save(workdir, 3, keep=5)
  assert not folder_of(workdir, 3).exists()
  assert Checkpoints(workdir).latest() == 2
