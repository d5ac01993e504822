"""One look for all pictures, and SVG that fits a page in light and dark."""

import contextlib
import io
import re
from collections.abc import Iterator

from albert_jax.errors import InputError

# Told apart with the common kinds of colour blindness, and readable on white and on black.
COLOURS = ("#3a7fc8", "#d9722e", "#2c9a6b", "#c0509a", "#8a7f1e", "#7b6bd6", "#bf4743", "#2f9db0", "#8c6d5c", "#6f7f92")
FOREGROUND = "#010203"  # of text and axes; `svg` replaces it by the page's own colour
WIDTH, HEIGHT = 4.4, 3.3  # inches of a panel


def colour(number: int) -> str:
  """The colour of the n-th thing that is drawn."""
  return COLOURS[number % len(COLOURS)]


def new_figure(width: float = WIDTH, height: float = HEIGHT):
  """An empty figure.

  Raises:
    InputError: matplotlib is not installed.
  """
  try:
    from matplotlib.figure import Figure
  except ImportError as error:
    raise InputError("Pictures need matplotlib: pip install -e '.[plot]'.") from error
  return Figure(figsize=(width, height), layout="constrained")


def finish(axes, *, xlabel: str, ylabel: str, legend: bool = True) -> None:
  """Labels, a light grid and no frame."""
  axes.set(xlabel=xlabel, ylabel=ylabel)
  axes.grid(alpha=0.15, linewidth=0.6)
  axes.spines[["top", "right"]].set_visible(False)
  if legend and axes.get_legend_handles_labels()[0]:
    axes.legend(frameon=False, fontsize="small")


def band(axes, x, mean, low, high, *, colour: str, label: str) -> None:
  """A curve with the range around it."""
  axes.plot(x, mean, color=colour, linewidth=1.6, label=label)
  axes.fill_between(x, low, high, color=colour, alpha=0.18, linewidth=0)


@contextlib.contextmanager
def for_page() -> Iterator[None]:
  """Figures made within the context have the page's colours and fonts, and the same bytes at every run."""
  try:
    import matplotlib
  except ImportError as error:
    raise InputError("The page needs matplotlib: pip install -e '.[plot]'.") from error
  names = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color", "grid.color")
  settings = {
    **dict.fromkeys(names, FOREGROUND),
    "svg.hashsalt": "albert_jax",
    "svg.fonttype": "none",
    "font.size": 9.5,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "path.simplify": False,
  }
  with matplotlib.rc_context():
    matplotlib.rcdefaults()  # whatever the machine's own settings are
    matplotlib.rcParams.update(settings)
    yield


def svg(figure, title: str) -> str:
  """A figure as an <svg> element: no date, no fixed colour of text, as wide as its place allows."""
  buffer = io.StringIO()
  metadata = {"Date": None, "Creator": None, "Format": None, "Type": None}
  figure.savefig(buffer, format="svg", metadata=metadata)
  text = buffer.getvalue()
  text = text[text.index("<svg") :].replace(FOREGROUND, "currentColor")
  text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
  text = re.sub(r"font: ([^;\"]*?) ?'[^;\"]*", r"font: \1 sans-serif", text)
  width = figure.get_size_inches()[0] * 96
  head = f'<svg role="img" aria-label="{title}" style="max-width:{width:.0f}px" '
  text = re.sub(r'<svg [^>]*?viewBox="([^"]*)"[^>]*>', rf'{head}viewBox="\1" xmlns="http://www.w3.org/2000/svg">', text)
  text = re.sub(r"<!--.*?-->\n?", "", text, flags=re.DOTALL)
  return re.sub(r"\n\s*\n|\n +", "\n", text)
