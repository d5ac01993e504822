"""How a process that makes data behaves beside the process that started it."""

import multiprocessing
import os
import signal
import threading


def follow_parent(*ignored: signal.Signals) -> None:
  """Ends with the parent process, however that ends, and leaves some signals to it.

  Call it first in a worker process. Ctrl-C reaches every process of a terminal, and a launcher may send SIGTERM to
  every process of a job; the parent alone decides what they mean.

  Args:
    ignored: signals that this process ignores; not SIGTERM where the parent ends its workers by that.
  """
  for number in ignored:
    signal.signal(number, signal.SIG_IGN)
  threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
  multiprocessing.parent_process().join()
  os._exit(1)
