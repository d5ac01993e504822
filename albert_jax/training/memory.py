"""Host memory on CPU-only machines."""

import ctypes

import jax

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3  # of glibc's mallopt(3)


def keep_freed_memory() -> None:
  """On a CPU, lets glibc keep what a step frees for the next step, instead of giving it back to the system.

  XLA allocates its temporaries anew in every step; clearing their pages each time takes a quarter of a small model's
  step (docs/results/albert_tiny.md). Does nothing on accelerators, or where the C library is not glibc.
  """
  if jax.default_backend() != "cpu":
    return
  mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
  if mallopt is not None:
    mallopt(_M_MMAP_THRESHOLD, 1 << 30)
    mallopt(_M_TRIM_THRESHOLD, 1 << 30)
    mallopt(_M_TOP_PAD, 256 << 20)
