"""Writes the report of a lab: `index.html`, `results.json` and `results.csv`, functions of the runs' files alone."""

import csv
import json
from collections.abc import Mapping
from pathlib import Path

from albert_jax.files import new_file
from albert_jax.lab.page.document import document
from albert_jax.lab.results import collect
from albert_jax.plots import style

FOLDER = "report"
COLUMNS = ("arm", "seed", "tuning", "status", "value", "steps", "folder")


def report(workdir: str) -> Path:
  """Writes the three files, each whole or not at all, and returns the page's path.

  Raises:
    InputError: the folder holds no lab, or matplotlib is missing.
  """
  folder = Path(workdir) / FOLDER
  text = json.dumps(collect(workdir), indent=1, ensure_ascii=False) + "\n"
  results = json.loads(text)  # so that the page has nothing that results.json lacks
  with new_file(folder / "results.json") as path:
    path.write_text(text, encoding="utf-8")
  with new_file(folder / "results.csv") as path:
    write_csv(results, path)
  with style.for_page():
    page = document(results)
  with new_file(folder / "index.html") as path:
    path.write_text(page, encoding="utf-8")
  return folder / "index.html"


def write_csv(results: Mapping, path: Path) -> None:
  """One row for each run that has ended: where it belongs, the metric that is compared, and all others at its end."""
  runs = results["runs"]
  keys = sorted({key for run in runs for key in run["point"]})
  metrics = sorted({name for run in runs for name in run["metrics"]})
  with path.open("w", encoding="utf-8", newline="") as file:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([*COLUMNS, *keys, *metrics])
    for run in runs:
      row = [run[column] for column in COLUMNS]
      row += [run["point"].get(key, "") for key in keys] + [run["metrics"].get(name, "") for name in metrics]
      writer.writerow(row)
