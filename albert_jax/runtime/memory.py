"""Host memory on CPU-only machines."""

import ctypes

import jax

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -2, -4, -8  # of glibc's mallopt(3)


def reuse_memory() -> None:
  """On a CPU, lets each step use the memory that the one before has freed.

  XLA allocates its temporaries anew in every step. glibc gives them back to the system in between, and clearing their
  pages each time takes a quarter of a small model's step (docs/results/albert_tiny.md). And a step that is dispatched
  while another runs now and then takes new memory instead of the other's: ALBERT-base, with temporaries of 1.2 GiB,
  grew from 2.3 to 4.7 GiB in seven steps. So steps run within their dispatch; waiting for one before the next one's
  dispatch is not enough, as results are known before the temporaries are freed. Does nothing on accelerators; where the
  C library is not glibc, freed memory is not kept. Call it before anything else touches a device.
  """
  jax.config.update("jax_cpu_enable_async_dispatch", False)
  mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
  if mallopt is None:
    return
  # One arena for all: those of XLA's threads hold nothing above 64 MiB. It must be set before these threads start.
  mallopt(_M_ARENA_MAX, 1)
  if jax.default_backend() != "cpu":
    mallopt(_M_ARENA_MAX, 0)  # as many as glibc likes
    return
  # Whatever the size: the temporaries of BERT-base's step are one block of 1.6 GiB, a tenth of the step's time.
  mallopt(_M_MMAP_MAX, 0)
  mallopt(_M_TRIM_THRESHOLD, -1)
  mallopt(_M_TOP_PAD, 256 << 20)
