"""Shows the progress of a long pass over documents: a bar on a terminal, otherwise a line now and then."""

import sys
import time
from collections.abc import Iterable, Iterator

import tqdm

from albert_jax.messages import say


class Progress:
  """Counts documents, their text and the examples made of it."""

  def __init__(self, *, enabled: bool, seconds_between_lines: float = 30):
    self._documents = self._examples = self._bytes = 0
    self._start = self._last_line = time.monotonic()
    self._between = seconds_between_lines if enabled else float("inf")
    self._bar = tqdm.tqdm(
      disable=not (enabled and sys.stderr.isatty()), unit="B", unit_scale=True, desc="Preparing", dynamic_ncols=True
    )

  def count(self, documents: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Passes (key, text) pairs on, and counts them."""
    for document in documents:
      size = len(document[1])
      self._documents += 1
      self._bytes += size
      self._bar.update(size)
      yield document

  def add_examples(self, number: int) -> None:
    """Counts examples."""
    self._examples += number
    self._bar.set_postfix(documents=self._documents, examples=self._examples, refresh=False)
    now = time.monotonic()
    if self._bar.disable and now - self._last_line > self._between:
      self._last_line = now
      say(str(self))

  def __str__(self) -> str:
    megabytes = self._bytes / 1e6
    speed = megabytes / max(time.monotonic() - self._start, 1e-9)
    return (
      f"prepared {self._documents:,} documents, {megabytes:,.1f} MB ({speed:.1f} MB/s), {self._examples:,} examples"
    )

  def __enter__(self):
    return self

  def __exit__(self, error, *_):
    self._bar.close()
    if error is None and self._between < float("inf"):
      say(str(self))
