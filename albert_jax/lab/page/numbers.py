"""Numbers and names as the page writes them."""

import html
from collections.abc import Mapping

_PREFIXES = ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
MISSING = "–"


def code(text: object) -> str:
  """A name, set as code."""
  return f"<code>{html.escape(str(text))}</code>"


def value(number: float | None) -> str:
  """A metric."""
  if number is None:
    return MISSING
  return (f"{number:,.4f}" if abs(number) < 100 else f"{number:,.1f}").replace("-", "−")


def signed(number: float | None) -> str:
  """A difference of metrics, with a minus sign that lines up with the plus."""
  return MISSING if number is None else f"{number:+.4f}".replace("-", "−")


def interval(mean: Mapping) -> str:
  """The 95% interval of a difference."""
  return MISSING if mean["low"] is None else f"[{signed(mean['low'])}, {signed(mean['high'])}]"


def count(number: int | None) -> str:
  """A whole number."""
  return MISSING if number is None else f"{number:,}"


def si(number: float | None, unit: str = "") -> str:
  """Three digits and a prefix."""
  if number is None:
    return MISSING
  for size, prefix in _PREFIXES:
    if number >= size:
      return f"{number / size:.3g} {prefix}{unit}"
  return f"{number:.3g} {unit}".strip()


def quantity(number: float | None, axis: str) -> str:
  """A cost on one of the axes of the page."""
  return {"params": count, "flops": si, "memory": lambda n: si(n, "B"), "time": lambda n: seconds(n)}[axis](number)


def seconds(number: float | None) -> str:
  """A duration."""
  if number is None:
    return MISSING
  if number < 1:
    return f"{1000 * number:.3g} ms"
  if number < 120:
    return f"{number:.3g} s"
  return f"{number / 60:.3g} min" if number < 7200 else f"{number / 3600:.3g} h"


def p_value(number: float | None) -> str:
  """A p value."""
  if number is None:
    return MISSING
  return "< 0.001" if number < 0.001 else f"{number:.3f}"


def percent(number: float | None) -> str:
  """A relative error."""
  return MISSING if number is None else f"{100 * number:+.3f}%".replace("-", "−")


def verdict(words: str, lower_is_better: bool) -> str:
  """A verdict, with what "lower" and "higher" mean for the metric."""
  meaning = {"lower": "better", "higher": "worse"} if lower_is_better else {"lower": "worse", "higher": "better"}
  return f"<strong>{html.escape(words)}</strong>" + (f" ({meaning[words]})" if words in meaning else "")
