import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from albert_jax.errors import InputError
from albert_jax.lab import plan, schedule
from albert_jax.lab.outcome.collect import collect
from albert_jax.lab.outcome.compare import ArmRuns, front, paired
from albert_jax.lab.outcome.phi import phi, solve
from albert_jax.lab.outcome.runs import ResultsByFolder
from albert_jax.lab.report import report
from tests.lab.fake import UNIGRAM, losses, make_lab, write_run

RATE = "optimizer.learning_rate"


def run_lab(workdir: Path, loss=losses, **fields):
  """A lab whose runs have all ended."""
  fields = {"seeds": 4, "tune": {RATE: (5e-4, 1e-3, 2e-3)}, **fields}
  lab = make_lab(**fields)
  plan.save(lab, plan.make_arms(lab), str(workdir), ["--lab=labs/fake.py"])
  results = ResultsByFolder(lab, str(workdir))
  while todo := [run for run, _ in schedule.wanted(lab, results.refresh()) if run.folder not in results]:
    for run in todo:
      write_run(workdir, run, loss=loss(run))
  return lab


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
  """A sharing table with analyses, and its report."""
  workdir = tmp_path_factory.mktemp("lab")
  run_lab(workdir, published={"all": "80.1", "source": "a paper"})
  folder = workdir / "analysis" / "all"
  folder.mkdir(parents=True)
  depth = {"mlm_loss": [6.0, 5.0, 4.0], "angle": [40.0, 20.0], "cka": np.eye(3).tolist()}
  conflict = {"attn": {"table": [0, 0], "cosine": [[1, -0.5], [-0.5, 1]], "agreement": [0.42], "share": [0.25, 0.75]}}
  growth = {"encoder/attn/key/kernel": {"norm": [12.5], "relative_change": [0.75]}, "mlm/bias": {"norm": [3.0]}}
  (folder / "seed=0.json").write_text(json.dumps({"depth": depth, "conflict": conflict, "growth": growth}))
  (folder / "claim-0.json").write_text("{}")  # of the worker that made it
  report(str(workdir))
  return workdir


def read(workdir: Path) -> dict:
  return json.loads((workdir / "report" / "results.json").read_text())


def test_differences_are_those_of_the_runs(finished):
  results = read(finished)
  rows = list(csv.DictReader((finished / "report" / "results.csv").open()))
  compared = {(row["arm"], int(row["seed"])): float(row["value"]) for row in rows if row["tuning"] == "False"}
  pairs = np.array([[compared["all", seed], compared["none", seed]] for seed in range(4)])
  expected = stats.ttest_rel(*pairs.T)
  found = results["arms"]["all"]["difference"]
  np.testing.assert_allclose([found["mean"], found["p"]], [np.subtract(*pairs.T).mean(), expected.pvalue])
  assert results["arms"]["all"]["verdict"] == "higher"
  assert results["arms"]["attn"]["verdict"] in ("not told apart", "equal within 0.01")
  assert results["arms"]["none"]["verdict"] == "baseline"
  assert results["arms"]["all"]["tuning"]["best"] == {RATE: 1e-3}
  assert len(rows) == 4 * 3 + 4 * 4


def test_the_front_says_what_may_do_as_well(finished):
  members = read(finished)["fronts"]["params"]["members"]
  assert members[0]["arm"] == "all"
  costs = [member["cost"] for member in members]
  assert costs == sorted(costs)
  assert read(finished)["fronts"]["flops"]["is_one_cost"]


def test_the_page_is_one_small_file_and_the_same_at_every_report(finished):
  path = finished / "report" / "index.html"
  before = {name: (finished / "report" / name).read_bytes() for name in ("index.html", "results.json", "results.csv")}
  report(str(finished))
  assert {name: (finished / "report" / name).read_bytes() for name in before} == before
  text = path.read_text()
  assert len(text.encode()) < 3_000_000
  assert not re.findall(r"(?:src|href)=\"(?!#|data:)", text), "nothing is loaded"
  assert "prefers-color-scheme" in text
  assert "<script" not in text
  assert not re.search(r"\b20\d\d-\d\d-\d\d", text)


def test_the_growth_of_weights_is_in_the_page(finished):
  cells = re.findall(r"<td[^>]*>(.*?)</td>", (finished / "report" / "index.html").read_text())
  place = cells.index("attn/key")
  assert cells[place + 1 : place + 3] == ["12.5", "0.75"]
  assert "mlm/bias" not in cells


def test_every_number_of_the_tables_is_in_the_results(finished):
  text = re.sub(
    r"<svg.*?</svg>|<style.*?</style>", "", (finished / "report" / "index.html").read_text(), flags=re.DOTALL
  )
  cells = re.findall(r"<td[^>]*>([+−]?[\d,]+\.\d{4})</td>", text)
  assert len(cells) > 20
  numbers = []

  def walk(value):
    if isinstance(value, dict):
      [walk(item) for item in value.values()]
    elif isinstance(value, list):
      [walk(item) for item in value]
    elif isinstance(value, int | float):
      numbers.append(float(value))

  walk(read(finished))
  numbers = np.array(numbers)
  for cell in cells:
    value = float(cell.replace("−", "-").replace(",", ""))
    assert np.abs(numbers - value).min() <= 0.5001e-4, cell


def test_there_is_no_verdict_near_the_unigram_line(tmp_path):
  run_lab(tmp_path, loss=lambda run: losses(run) + 1.6, tune={})
  results = json.loads(json.dumps(collect(str(tmp_path))))
  arm = results["arms"]["all"]
  assert arm["below_unigram"] == pytest.approx(UNIGRAM - arm["metrics"]["valid/mlm_loss"])  # of the last evaluation
  assert arm["metrics"]["valid/mlm_loss"] != pytest.approx(arm["mean"]["mean"])
  assert {arm["verdict"] for arm in results["arms"].values()} == {"baseline", "no verdict: too early"}
  page = report(str(tmp_path)).read_text()
  assert "No answer yet" in page
  assert "sure:" not in page


def test_a_diverged_run_is_a_result(tmp_path):
  lab = run_lab(tmp_path, tune={})
  write_run(tmp_path, plan.Run("ffn", (), 2), loss=3.5, status="diverged")
  results = collect(str(tmp_path))
  assert results["arms"]["ffn"]["diverged"] == [2]
  assert results["arms"]["ffn"]["verdict"] == "diverged in 1 of 4 runs"
  assert results["arms"]["ffn"]["mean"]["n"] == lab.seeds - 1
  assert "2 diverged" in report(str(tmp_path)).read_text()


def test_an_edge_of_the_grid_is_flagged(tmp_path):
  run_lab(tmp_path, tune={RATE: (1e-3, 2e-3)}, tune_extend=0, seeds=2)
  assert "at the edge of the grid" in report(str(tmp_path)).read_text()


def test_a_report_of_half_a_lab(tmp_path):
  lab = make_lab(seeds=3)
  plan.save(lab, plan.make_arms(lab), str(tmp_path))
  assert "no run that is compared has ended" in report(str(tmp_path)).read_text()
  for name in ("all", "none"):
    write_run(tmp_path, plan.Run(name, (), 0), loss=3.5)
  results = collect(str(tmp_path))
  assert results["progress"]["finished"] == 2
  assert results["arms"]["all"]["verdict"] == "no verdict: too few seeds"
  assert "2 of 12 runs have ended" in report(str(tmp_path)).read_text()


def test_a_folder_without_a_lab(tmp_path):
  with pytest.raises(InputError, match=r"lab\.json"):
    report(str(tmp_path))
  (tmp_path / "lab.json").write_text("{}")
  with pytest.raises(InputError, match="damaged"):
    report(str(tmp_path))


def test_front_by_hand():
  lab = make_lab()
  runs = {
    name: ArmRuns({0: loss, 1: loss + 0.01}, None) for name, loss in (("a", 4), ("b", 3.5), ("c", 3.7), ("d", 3.4))
  }
  found = front(lab, {"a": 10, "b": 20, "c": 30, "d": 20.01}, runs)
  assert [(member["arm"], [rival["arm"] for rival in member["differences"]]) for member in found] == [
    ("a", []),
    ("d", ["b", "a"]),
  ]
  assert paired(runs["a"], runs["b"]).mean == pytest.approx(0.5)


def test_phi_is_found_again():
  def loss(size: float) -> float:
    return 5 - 0.3 * np.log(size)

  readers = {
    "small": {"attn": {"1": 400}, "ffn": {"1": 600}},
    "large": {"attn": {"1": 4000}, "ffn": {"1": 6000}},
    "loop": {"attn": {"1": 1000, "4": 300}, "ffn": {"1": 900}},
    "none_so_good": {"attn": {"2": 500}, "ffn": {"2": 600}},
  }
  effective = 1900 + 300 * 4**0.46
  runs = {
    "small": ArmRuns({seed: loss(1000) for seed in range(3)}, None),
    "large": ArmRuns({seed: loss(10000) for seed in range(3)}, None),
    "loop": ArmRuns({seed: loss(effective) for seed in range(3)}, None),
    "none_so_good": ArmRuns({0: loss(900)}, None),
  }
  found = phi(readers, runs)
  assert found["references"] == {"small": 1000, "large": 10000}
  assert found["arms"]["loop"]["mean"] == pytest.approx(0.46, abs=1e-6)
  assert found["arms"]["loop"]["shared"] == ["attn"]
  assert (found["arms"]["none_so_good"]["n"], found["arms"]["none_so_good"]["outside"]) == (0, 1)
  assert phi({"loop": readers["loop"]}, {"loop": runs["loop"]}) is None
  assert solve({1: 10}, 3.0, [(1, 2.0), (2, 4.0)]) is None  # a larger model is worse: no curve to invert
