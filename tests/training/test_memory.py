import subprocess
import sys

CODE = """
import ctypes, resource
from albert_jax.training.memory import keep_freed_memory
{call}
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
  block = libc.malloc(48 << 20)
  libc.memset(block, 1, 48 << 20)
  libc.free(block)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(call: str) -> int:
  """Page faults of twenty large allocations, in a process of their own."""
  result = subprocess.run([sys.executable, "-c", CODE.format(call=call)], capture_output=True, text=True, check=True)
  return int(result.stdout)


def test_freed_memory_is_used_again():
  pages = (48 << 20) // 4096
  assert faults("pass") > 10 * pages
  assert faults("keep_freed_memory()") < 3 * pages
