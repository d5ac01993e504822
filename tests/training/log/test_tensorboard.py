from tensorboardX.event_file_writer import EventsWriter

from albert_jax.training.log.tensorboard import TensorBoard


def test_a_full_disk_ends_the_curves_and_not_the_run(tmp_path, monkeypatch, capsys):
  board = TensorBoard(str(tmp_path), purge_step=1)
  board.add(1, "train", {"loss": 2.0, "nothing": None})

  def fail(*_):
    raise OSError(28, "No space left on device")

  monkeypatch.setattr(EventsWriter, "write_event", fail)
  for step in range(2, 200):  # more than any queue holds
    board.add(step, "train", {"loss": 1.0})
  board.close()
  assert capsys.readouterr().err.count("TensorBoard gets no more points: No space left") == 1


def test_points_carry_their_split(tmp_path):
  board = TensorBoard(str(tmp_path), purge_step=3)
  board.add(5, "valid", {"loss": 2.5})
  board.close()
  (file,) = (tmp_path / "tensorboard").iterdir()
  assert b"valid/loss" in file.read_bytes()
