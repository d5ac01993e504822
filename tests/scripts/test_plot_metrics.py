import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from albert_jax.config import save_config
from albert_jax.errors import InputError
from albert_jax.plots import runs as script
from configs import albert_tiny
from tests.builders import override

SCRIPT = pathlib.Path(__file__).parents[2] / "scripts" / "plot_metrics.py"
TRAIN = [
  {"step": 10, "split": "train", "mlm_loss": 4.0, "pair_accuracy": 0.5, "fill": 0.5},
  {"step": 20, "split": "train", "mlm_loss": 3.0, "pair_accuracy": 0.6, "fill": 1.0},
]
VALID = [{"step": 15, "split": "valid", "mlm_loss": 3.5, "pair_accuracy": 0.55, "unigram_loss": 5.25, "fill": 0.5}]
VALID[0]["pair_surface_accuracy"] = 0.625


def write_run(folder, lines, tail=""):
  folder.mkdir()
  config = albert_tiny.get_config("test")
  save_config(override(config, {"train.batch_size": 4, "data.max_length": 8}), str(folder))
  (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + tail)
  return str(folder)


def draw(*workdirs):
  return script.draw({workdir: [script.read_run(workdir)] for workdir in workdirs}, "step")


def run(*arguments):
  return subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True, check=False)


def test_curves_by_step_and_by_tokens(tmp_path):
  read = script.read_run(write_run(tmp_path / "a", TRAIN + VALID))
  np.testing.assert_array_equal(read.curve("train", "mlm_loss", "step"), [[10, 20], [4, 3]])
  # 32 positions a step: 10 steps half full, then 10 full ones.
  np.testing.assert_array_equal(read.curve("train", "pair_accuracy", "tokens"), [[160, 480], [0.5, 0.6]])
  np.testing.assert_array_equal(read.curve("valid", "mlm_loss", "tokens"), [[320], [3.5]])


def test_a_line_that_is_being_written_is_left_out(tmp_path):
  read = script.read_run(write_run(tmp_path / "a", TRAIN, tail='{"step": 30, "spl'))
  assert len(read.lines["train"]) == 2


def test_fine_tuning_has_its_own_metrics(tmp_path):
  scores = {"loss": 0.5, "accuracy": 0.75, "matthews": 0.5, "f1": 0.25}
  lines = [{"step": 10, "split": "train", "loss": 0.625}, {"step": 10, "split": "valid", **scores}]
  panels = draw(write_run(tmp_path / "a", lines)).axes
  assert [axes.get_ylabel() for axes in panels] == ["loss", "accuracy", "Matthews correlation", "F1"]
  both = [{**line, "loss": 9.0} for line in TRAIN]  # of pretraining, the sum of two losses that are drawn
  panels = draw(write_run(tmp_path / "b", both)).axes
  assert [axes.get_ylabel() for axes in panels] == ["masked-LM loss (nats)", "sentence-pair accuracy"]


def test_figure_holds_every_run_and_the_baselines(tmp_path):
  runs = [script.read_run(write_run(tmp_path / name, TRAIN + VALID)) for name in ("a", "b")]
  loss, pair = script.draw({run.name: [run] for run in runs}, "step").axes
  curves = ["a, train", "a, valid", "b, train", "b, valid"]
  assert [line.get_label() for line in loss.lines] == [*curves, "unigram baseline, 5.25"]
  assert [line.get_label() for line in pair.lines] == [*curves, "chance", "surface rule, 62.5%"]


def test_seeds_of_a_run_are_drawn_as_their_mean_and_range(tmp_path):
  higher = [{**line, "mlm_loss": line["mlm_loss"] + 1} for line in TRAIN]
  for name in ("a", "b"):
    (tmp_path / name).mkdir()
  workdirs = [write_run(tmp_path / path, lines) for path, lines in (("a/seed=0", TRAIN), ("a/seed=1", higher))]
  workdirs.append(write_run(tmp_path / "b" / "seed_0", TRAIN))
  groups = script.group_by_seed(workdirs, [script.read_run(workdir) for workdir in workdirs])
  assert {name: len(group) for name, group in groups.items()} == {"a": 2, "b": 1}
  loss = script.draw(groups, "step").axes[0]
  np.testing.assert_array_equal(loss.lines[0].get_ydata(), [4.5, 3.5])
  assert len(loss.collections) == 1  # one band


def test_a_metric_that_no_run_has_gets_no_panel(tmp_path):
  lines = [{key: value for key, value in line.items() if key != "pair_accuracy"} for line in TRAIN]
  [axes] = draw(write_run(tmp_path / "a", lines)).axes
  assert axes.get_ylabel() == script.METRICS["mlm_loss"]


def test_missing_matplotlib_names_the_extra(tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
  read = script.read_run(write_run(tmp_path / "a", TRAIN))
  with pytest.raises(InputError, match=r"\[plot\]"):
    script.draw({"a": [read]}, "step")


@pytest.mark.parametrize(
  ("lines", "tail", "message"),
  [([], "", "no metrics yet"), (TRAIN, "[]\n", "metrics.jsonl:3"), (TRAIN, '{"step": 30}\n', "'split'")],
)
def test_bad_metrics_are_named(tmp_path, lines, tail, message):
  with pytest.raises(InputError, match=message):
    script.read_run(write_run(tmp_path / "a", lines, tail))


def test_command_line(tmp_path):
  workdir = write_run(tmp_path / "a", TRAIN + VALID)
  done = run(f"--workdir={workdir}", f"--output={tmp_path}/new/a.png")
  assert done.returncode == 0, done.stderr
  assert (tmp_path / "new" / "a.png").read_bytes().startswith(b"\x89PNG")
  done = run(f"--workdir={workdir}", f"--output={tmp_path}/new/a.doc")
  assert done.returncode == 2
  assert ".png" in done.stderr
  assert "Traceback" not in done.stderr
  assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.png"]
