"""The train step, compiled once for each shape of batch."""

import hashlib
import time
from collections.abc import Callable

import jax

from albert_jax.runtime import distributed
from albert_jax.runtime.compilation import compile_program
from albert_jax.training.program import Program
from albert_jax.training.step import TrainState
from albert_jax.training.task import Batch, Terms


class Executables:
  """Compiled programs by what they were compiled from. Share one among runs that may have the same program."""

  def __init__(self):
    self._compiled: dict[str, Callable] = {}

  def compile(self, lowered: jax.stages.Lowered, options: dict[str, str]) -> Callable:
    """The program of a lowered function; it is compiled if none of the same text was."""
    key = hashlib.sha256(f"{sorted(options.items())}\n{lowered.as_text()}".encode()).hexdigest()
    if key not in self._compiled:
      self._compiled[key] = compile_program(lowered)
    return self._compiled[key]


class CompiledStep:
  """(state, batch) → (state, terms), for a program's learning rate and seed.

  Args:
    program: gives the step.
    executables: where compiled programs are kept and found.
  """

  def __init__(self, program: Program, executables: Executables | None = None):
    self._program, self._train_step = program, program.train_step  # which checks the batch size
    self._executables = executables or Executables()
    self._compiled: dict[tuple, Callable] = {}

  def is_compiled_for(self, batch: Batch) -> bool:
    """Whether a batch of this shape was compiled for."""
    return _shapes(batch) in self._compiled

  def compile_for(self, batch: Batch) -> str:
    """Compiles the step for batches of this shape, in every process of the job; returns a line for the log."""
    program, start = self._program, time.perf_counter()
    lowered = self._train_step.lower(program.state, batch, program.hyper)
    self._compiled[_shapes(batch)] = self._executables.compile(lowered, program.compiler_options)
    distributed.barrier()
    seconds = time.perf_counter() - start
    return f"compiled the train step for length {batch['tokens'].shape[-1]} in {seconds:.1f} s"

  def __call__(self, state: TrainState, batch: Batch) -> tuple[TrainState, Terms]:
    """Takes a step; `compile_for` comes first."""
    return self._compiled[_shapes(batch)](state, batch, self._program.hyper)


def _shapes(batch: Batch) -> tuple:
  return tuple(array.shape for array in batch.values())
