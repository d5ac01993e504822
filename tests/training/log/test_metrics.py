import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from albert_jax.errors import InputError
from albert_jax.tasks.eval_metrics import CLASS_SCORES, NUMBER_SCORES
from albert_jax.tasks.squad_scores import squad1_scores, squad2_scores
from albert_jax.training.log.metrics import FILE, MetricAccumulator, Progress, Writer, peak_flops, summary


def pair(total, weight):
  return jnp.float32(total), jnp.float32(weight)


def read(folder) -> list[dict]:
  return [json.loads(line) for line in (folder / FILE).read_text().splitlines()]


def test_meter_divides_sums_by_weights_once():
  meter = MetricAccumulator()
  for total, weight in [(1, 1), (9, 3), (0, 0)]:
    meter.add({"loss": pair(total, weight), "never": pair(0, 0)})
  assert meter.means() == {"loss": 2.5}
  assert meter.total("loss") == 10


def test_writer_appends_lines_and_tensorboard_events(tmp_path):
  writer = Writer(tmp_path, first_step=0, log_to="tensorboard", config={"train.steps": 7})
  writer.write(1, "train", {"loss": 2.0})
  writer.write(1, "valid", {"loss": 3.0})
  writer.close()
  assert read(tmp_path) == [{"step": 1, "split": "train", "loss": 2.0}, {"step": 1, "split": "valid", "loss": 3.0}]
  (events,) = (tmp_path / "tensorboard").iterdir()
  assert b"valid/loss" in events.read_bytes()
  assert b"train.steps" in events.read_bytes()


def test_a_resumed_run_drops_what_comes_again_and_a_broken_line(tmp_path):
  writer = Writer(tmp_path, first_step=0)
  for step in (1, 2, 3):
    writer.write(step, "train", {"loss": float(step)})
  writer.close()
  with (tmp_path / FILE).open("a") as file:
    file.write('{"step": 4, "spl')
  writer = Writer(tmp_path, first_step=2)
  writer.write(3, "train", {"loss": 30.0})
  writer.close()
  assert [(line["step"], line["loss"]) for line in read(tmp_path)] == [(1, 1.0), (2, 2.0), (3, 30.0)]


@pytest.mark.parametrize("line", ['{"step": 2, "spl', "[]", "nonsense", "ÿþ", '{"split": "train"}'])
def test_a_damaged_line_in_the_middle_is_named(tmp_path, line):
  path = tmp_path / FILE
  whole = json.dumps({"step": 1, "split": "train", "loss": 1.0})
  path.write_bytes(f"{whole}\n".encode() + line.encode("latin-1") + f"\n{whole}\n".encode())
  with pytest.raises(InputError, match=r"metrics\.jsonl:2 is damaged"):
    Writer(tmp_path, first_step=1)
  assert line.encode("latin-1") in path.read_bytes()


def test_progress_prints_plain_lines_where_there_is_no_terminal(capsys):
  progress = Progress(10, 30)
  progress.step()
  progress.show(20, {"loss": 1.25, "mlm_accuracy": 0.5, "unheard": 1.0})
  progress.close()
  line = capsys.readouterr().err
  assert line.startswith("step 20/30  loss 1.250  acc 50.0%  ")
  assert line.rstrip().endswith("left")
  assert "\r" not in line


def test_summary_names_the_baseline():
  assert summary({"mlm_loss": 5.0, "unigram_loss": 6.0}) == "mlm 5.000  (unigram 6.000)"


def test_summary_names_the_scores_of_tasks():
  assert summary({"loss": 0.5, "accuracy": 0.75, "f1": 0.25}) == "loss 0.500  accuracy 75.0%  f1 0.250"
  for name in CLASS_SCORES | NUMBER_SCORES:
    assert "0.5" in summary({name: 0.5}) or "50.0%" in summary({name: 0.5})
  assert summary(squad1_scores(["a b"], [["a b"]])) == "exact match 100.0%  f1 100.000"
  assert summary(squad2_scores(["a b"], [0.0], 0.0, [["a b"]])) == "exact match 100.0%  f1 100.000"


@pytest.mark.parametrize(("kind", "peak"), [("NVIDIA H200", 989e12), ("TPU v5 lite", 197e12), ("TPU v5", 459e12)])
def test_peaks_of_known_devices(kind, peak):
  class Device:
    device_kind = kind

  assert peak_flops(Device()) == peak
  assert peak_flops(jax.devices("cpu")[0]) is None
  assert np.isfinite(peak)
