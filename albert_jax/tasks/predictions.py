"""Files of predictions."""

import os
from collections.abc import Sequence
from pathlib import Path


def write_table(path: Path, values: Sequence[str]) -> None:
  """Writes `index` and `prediction`, tab-separated, as GLUE's site takes them; whole or not at all."""
  rows = "".join(f"{index}\t{value}\n" for index, value in enumerate(values))
  path.parent.mkdir(parents=True, exist_ok=True)
  temporary = path.with_name(f"{path.name}.tmp")
  temporary.write_text("index\tprediction\n" + rows, encoding="utf-8")
  os.replace(temporary, path)
