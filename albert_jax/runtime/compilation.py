"""How programs are compiled: the cache on disk, and the compiler's options by platform, with the reason beside each.

There are none but for repeatable sums. What was tried and left out: on CPUs, wider vectors
(`xla_cpu_prefer_vector_width=512`), `xla_cpu_enable_fast_math` and no fused library calls (an empty
`xla_cpu_experimental_ynn_fusion_type`) change nothing (docs/results/performance.md).
"""

import os

import jax

from albert_jax.errors import InputError
from albert_jax.runtime.compiled_entries import check_entries

# Sums whose order is not fixed, such as that of the word table's gradient, make two runs differ in the last bits.
DETERMINISTIC: dict[str, dict[str, str]] = {"gpu": {"xla_gpu_deterministic_ops": "true"}}


def compiler_options(platform: str, *, deterministic: bool, more: str) -> dict[str, str]:
  """The compiler's options.

  Args:
    platform: "cpu", "gpu" or "tpu".
    deterministic: whether a run is to be repeatable bit by bit where that costs speed; CPUs and TPUs always are.
    more: further ones, "name=value,name=value"; they come last.

  Raises:
    InputError: `more` has another form.
  """
  options = dict(DETERMINISTIC.get(platform, {})) if deterministic else {}
  for item in filter(None, more.split(",")):
    name, has_value, value = item.partition("=")
    if not has_value or not name.strip().startswith("xla_"):
      raise InputError(f'train.compiler_options: "{item}" is not of the form xla_NAME=VALUE (several: with commas).')
    options[name.strip()] = value.strip()
  return options


def compile_program(lowered: jax.stages.Lowered) -> jax.stages.Compiled:
  """Compiles a program.

  Raises:
    InputError: the compiler does not know one of the options.
  """
  try:
    return lowered.compile()
  except jax.errors.JaxRuntimeError as error:
    if "compile option" not in str(error):
      raise
    raise InputError(f"train.compiler_options: {str(error).rpartition('INVALID_ARGUMENT: ')[2]}") from error


def keep_compiled(cache_dir: str) -> None:
  """Keeps compiled programs in a folder of the cache, so that the next start need not compile them again.

  JAX_COMPILATION_CACHE_DIR names another place. What is read from there is checked, see `compiled_entries`.
  """
  check_entries()
  if not jax.config.jax_compilation_cache_dir:
    jax.config.update("jax_compilation_cache_dir", os.path.abspath(os.path.join(cache_dir, "compiled")))
