"""What Orbax and TensorStore print when a write fails in the background.

Every coroutine and thread of a failed save reports the same fault with a traceback of its own, a hundred of them on a
full disk. The first is raised in the main thread (`Checkpoints.wait`), so the rest would only bury its message.
"""

import logging
import sys


def quiet_background() -> None:
  """Drops the reports of faults that the main thread gets as well, unless libraries are to be heard (--verbosity=0)."""
  logging.getLogger("asyncio").addFilter(_is_news)  # adding a filter again changes nothing
  logging.getLogger("absl").addFilter(_is_news)
  if sys.unraisablehook is not _report_unraisable:
    global _report_others
    _report_others = sys.unraisablehook
    sys.unraisablehook = _report_unraisable


_report_others = sys.__unraisablehook__


def _is_news(record: logging.LogRecord) -> bool:
  if logging.getLogger("absl").isEnabledFor(logging.INFO):
    return True
  if record.name == "asyncio":
    return "exception was never retrieved" not in record.getMessage()
  return record.levelno < logging.ERROR or "/orbax/checkpoint/" not in record.pathname


def _report_unraisable(fault) -> None:
  if "Event loop is closed" not in str(fault.exc_value):  # a write that ended after the save had failed
    _report_others(fault)
