"""A map over processes that keeps the order and bounds the work in flight."""

import collections
import concurrent.futures
import itertools
import multiprocessing
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from albert_jax.data.workers import follow_parent
from albert_jax.errors import InputError

Item = TypeVar("Item")
Result = TypeVar("Result")

_function: Callable  # the worker's own copy


def ordered_map(
  function: Callable[[Item], Result],
  items: Iterable[Item],
  processes: int,
  *,
  inline_below: int = 4,
) -> Iterator[Result]:
  """Yields `function(item)` for each item, in order, computed in `processes` processes.

  At most two items a process are in flight. Fewer items than `inline_below` are not worth starting
  processes for, and run here. Close the generator to stop early: nothing outlives it.

  Args:
    function: picklable; it is sent to each process once.

  Raises:
    InputError: a process was killed.
  """
  items = iter(items)
  first = list(itertools.islice(items, inline_below))
  items = itertools.chain(first, items)
  if processes == 1 or len(first) < inline_below:
    yield from map(function, items)
    return
  # Not fork: the caller may already run the threads of JAX, which a fork would break.
  pool = concurrent.futures.ProcessPoolExecutor(
    processes, multiprocessing.get_context("spawn"), _start_worker, (function,)
  )
  try:
    pending = collections.deque()
    for item in items:
      pending.append(pool.submit(_call, item))
      if len(pending) == 2 * processes:
        yield pending.popleft().result()
    while pending:
      yield pending.popleft().result()
  except BrokenProcessPool as error:
    raise InputError(
      f"One of {processes} worker processes died, perhaps for want of memory: use fewer processes."
    ) from error
  finally:
    pool.shutdown(cancel_futures=True)


def _start_worker(function: Callable) -> None:
  global _function
  _function = function
  follow_parent(signal.SIGINT)


def _call(item):
  return _function(item)
