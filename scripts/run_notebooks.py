"""Runs the notebooks of docs/notebooks from top to bottom; a cell that fails ends it with status 2.

    python scripts/run_notebooks.py                              # leaves the files as they are
    python scripts/run_notebooks.py --save --notebook=docs/notebooks/sharing.ipynb    # keeps what cells print and draw

Needs Jupyter's kernel: pip install -e '.[notebooks]'.
"""

import sys
import time
from pathlib import Path

from absl import flags

from albert_jax import cli
from albert_jax.errors import InputError

FOLDER = Path(__file__).parent.parent / "docs" / "notebooks"
LIMIT = 900  # seconds for a cell

_NOTEBOOKS = flags.DEFINE_multi_string("notebook", [], "A file; may be repeated. All of docs/notebooks by default.")
_SAVE = flags.DEFINE_bool("save", False, "Write the outputs into the files.")


def main(_: list[str]) -> None:
  """Runs those that are named, or all."""
  paths = [Path(name) for name in _NOTEBOOKS.value] or sorted(FOLDER.glob("*.ipynb"))
  for path in paths:
    start = time.monotonic()
    run(path, save=_SAVE.value)
    print(f"{path.name}: {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)


def run(path: Path, *, save: bool) -> None:
  """Runs a notebook in its own folder.

  Raises:
    InputError: the file is no notebook, or a cell fails; names both.
  """
  try:
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError
  except ImportError as error:
    raise InputError(f"{error.name} is not installed: pip install -e '.[notebooks]'") from error
  try:
    notebook = nbformat.read(path, as_version=4)
  except (OSError, ValueError) as error:
    raise InputError(f"{path} cannot be read as a notebook: {error}") from error
  client = NotebookClient(notebook, timeout=LIMIT, resources={"metadata": {"path": str(path.parent)}})
  try:
    client.execute()
  except CellExecutionError as error:
    raise InputError(f"{path}: a cell fails.\n{error}") from error
  if save:
    for cell in notebook.cells:
      cell.metadata.pop("execution", None)  # times, which differ with every run
    nbformat.write(notebook, path)


if __name__ == "__main__":
  cli.run(main)
