import subprocess
import sys

import pytest

from tests.builders import ROOT

CODE = """
import ctypes, resource, threading
from albert_jax.runtime.memory import reuse_memory
{call}
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
def use():
  for _ in range({times}):
    block = libc.malloc({size})
    libc.memset(block, 1, {size})
    libc.free(block)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
{use}
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
THREAD = "thread = threading.Thread(target=use); thread.start(); thread.join()"


def faults(call: str, use: str, size: int, times: int) -> int:
  """Page faults of so many allocations of one size, in a process of their own."""
  code = CODE.format(call=call, use=use, size=size, times=times)
  result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
  return int(result.stdout)


@pytest.mark.parametrize("use", ["use()", THREAD], ids=["here", "in a thread"])
@pytest.mark.parametrize(("mebibytes", "times"), [(96, 20), (1280, 5)])  # a step of BERT-base takes 1,634 at once
def test_freed_memory_is_used_again(mebibytes, times, use):
  size = mebibytes << 20
  pages = size // 4096
  assert faults("pass", use, size, times) > times / 2 * pages
  assert faults("reuse_memory()", use, size, times) < 2 * pages


def test_a_step_has_ended_when_its_dispatch_returns():
  code = """
import jax, jax.numpy as jnp
from albert_jax.runtime.memory import reuse_memory
reuse_memory()
steps = jax.jit(lambda x: jax.lax.fori_loop(0, 100, lambda _, x: x @ x / 512, x)).lower(jnp.ones((512, 512))).compile()
print(steps(jnp.ones((512, 512))).is_ready())
"""
  result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
  assert result.stdout == "True\n"


@pytest.mark.parametrize("program", ["train", "eval", "albert_jax.tools.benchmarking.ours"])
def test_nothing_that_is_imported_has_a_malloc_arena_of_its_own(program):
  code = f"""
import {program}, ctypes
libc = ctypes.CDLL(None)
libc.malloc_info(0, ctypes.c_void_p.in_dll(libc, "stdout"))
libc.fflush(None)
"""
  result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
  assert result.stdout.count("<heap") == 1
