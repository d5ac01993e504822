import json
import time

import pytest
from tensorboardX.event_file_writer import EventsWriter

from albert_jax.errors import InputError
from albert_jax.training.log import dashboards
from albert_jax.training.log.dashboards import Dashboards


def open_dashboards(workdir, names, first_step=0):
  return Dashboards(names, str(workdir), first_step=first_step, config={"train.steps": 9, "data.labels": ("a", "b")})


def test_a_full_disk_ends_the_curves_and_not_the_run(tmp_path, monkeypatch, capsys):
  boards = open_dashboards(tmp_path, "tensorboard")
  boards.add(1, "train", {"loss": 2.0, "nothing": None})

  def fail(*_):
    raise OSError(28, "No space left on device")

  monkeypatch.setattr(EventsWriter, "write_event", fail)
  for step in range(2, 200):  # more than any queue holds
    boards.add(step, "train", {"loss": 1.0})
  boards.close()
  assert capsys.readouterr().err.count("tensorboard gets no more points: No space left") == 1


def test_one_that_cannot_be_opened_leaves_the_other(tmp_path, monkeypatch, capsys):
  def away(*_):
    raise ConnectionError("the service is away\nand more")

  monkeypatch.setitem(dashboards.DASHBOARDS, "away", away)
  boards = open_dashboards(tmp_path, "away, tensorboard")
  boards.add(5, "valid", {"loss": 2.5})
  boards.close()
  assert capsys.readouterr().err == "warning: away gets no more points: the service is away\n"
  (file,) = (tmp_path / "tensorboard").iterdir()
  assert b"valid/loss" in file.read_bytes()
  assert b"data.labels" in file.read_bytes()


def test_names(tmp_path, monkeypatch):
  open_dashboards(tmp_path, "").add(1, "train", {"loss": 1.0})
  assert not list(tmp_path.iterdir())
  with pytest.raises(InputError, match="tensorbord"):
    open_dashboards(tmp_path, "tensorbord")
  monkeypatch.setattr(dashboards.importlib.util, "find_spec", lambda name: None)
  with pytest.raises(InputError, match="pip install wandb"):
    open_dashboards(tmp_path, "wandb")


def read_log(content, header=7):
  """The records of a small file in LevelDB's log format, after the header of the file."""
  assert len(content) < 2**15  # one block: no record is cut in two
  place = header
  while place + 7 <= len(content):
    length = int.from_bytes(content[place + 4 : place + 6], "little")
    yield content[place + 7 : place + 7 + length]
    place += 7 + length


def test_weights_and_biases_gets_every_point_of_a_resumed_run(tmp_path, monkeypatch):
  from wandb.proto import wandb_internal_pb2

  monkeypatch.setenv("WANDB_MODE", "offline")
  for first, steps in ((0, (1, 2, 3)), (2, (3,))):  # killed after step 3, resumed at step 2
    boards = open_dashboards(tmp_path, "wandb", first)
    for step in steps:
      boards.add(step, "train", {"loss": float(step), "nothing": None})
    boards.close()
    time.sleep(1.1)  # the package names its files by the second
  ids, points = set(), []
  for path in sorted(tmp_path.glob("wandb/offline-run-*/*.wandb")):
    for data in read_log(path.read_bytes()):
      record = wandb_internal_pb2.Record.FromString(data)
      ids |= {record.run.run_id} - {""}
      items = {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
      if "train/loss" in items:
        points.append((items["step"], items["train/loss"]))
  assert points == [(1, 1.0), (2, 2.0), (3, 3.0), (3, 3.0)]
  assert len(ids) == 1
