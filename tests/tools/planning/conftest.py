import pytest

from albert_jax.tools.planning.compiled import QUICK, Choice, Compiled, TooLarge
from albert_jax.tools.planning.hlo import Collective


@pytest.fixture
def make_step():
  """A step of 16 chips whose memory falls with the microbatches, and whose FLOPs and transfers are round numbers."""

  def make(choice: Choice, effort: int = QUICK, *, activations: float = 40e9, available: float = 16e9):
    needed = activations * {"none": 1, "dots": 0.5, "full": 0.1}[choice.remat] / choice.microbatches
    if needed > available:
      return TooLarge(choice, needed, available)
    gradients = Collective("all-reduce", bytes=10**8, group=16, times=1)
    rows = Collective("all-gather", bytes=10**8, group=choice.tensor, times=100)
    return Compiled(
      choice=choice,
      effort=effort,
      memory={"parameters": 10**8, "activations and gradients": int(needed)},
      model_flops=6e12,
      flops=6e12 * {"none": 1, "dots": 1.1, "full": 4 / 3}[choice.remat],
      cycles=3 * 10**8,
      collectives=[gradients, rows],
      input_bytes=10**6,
      state_bytes=3 * 10**8,
    )

  return make
