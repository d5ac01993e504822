"""Files of predictions."""

from collections.abc import Sequence
from pathlib import Path

from albert_jax.files import new_file


def write_table(path: Path, values: Sequence[str]) -> None:
  """Writes `index` and `prediction`, tab-separated, as GLUE's site takes them; whole or not at all."""
  rows = "".join(f"{index}\t{value}\n" for index, value in enumerate(values))
  with new_file(path) as temporary:
    temporary.write_text("index\tprediction\n" + rows, encoding="utf-8")
