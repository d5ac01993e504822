"""One declaration of a config key: its default, type, range, meaning, and the runs that have it."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

from albert_jax.errors import InputError, unknown

PRETRAINING = ("pretrain",)
FINETUNING = ("classify", "choice", "span")
TASKS = PRETRAINING + FINETUNING

_NOTHING = object()


@dataclasses.dataclass(frozen=True)
class Field:
  """A key of the config.

  Attributes:
    default: in a new run; its type is the type of the key.
    meaning: one line of documentation.
    low, high: the closed range of a number; a float must be finite in any case.
    above, below: the same, open.
    off: a value outside the range that switches something off.
    choices: the allowed values.
    finetuning: the default of fine-tuning, where it differs.
    tasks: the values of `task` that have the key.
    source: the value of `data.source` that has it; "" = every one.
    free: a resumed run may change it: it decides where, how fast and how observed a run computes, not what.
    before: what a config.json without the key meant, where that is not the default: a value, or a function of the
      record.
  """

  default: Any
  meaning: str
  low: float | None = None
  high: float | None = None
  above: float | None = None
  below: float | None = None
  off: float | None = None
  choices: Sequence[Any] = ()
  finetuning: Any = _NOTHING
  tasks: tuple[str, ...] = TASKS
  source: str = ""
  free: bool = False
  before: Any | Callable[[dict], Any] = _NOTHING

  def default_of(self, task: str) -> Any:
    """The default in a run of a task; "" is a task of fine-tuning that is yet to be named."""
    return self.default if task in PRETRAINING or self.finetuning is _NOTHING else self.finetuning

  def before_of(self, record: dict, task: str) -> Any:
    """What a record of an earlier version meant by not having the key."""
    if self.before is _NOTHING:
      return self.default_of(task)
    return self.before(record) if callable(self.before) else self.before

  def applies(self, task: str, source: str) -> bool:
    """Whether a run of a task on a source has the key; "" is a task of fine-tuning that is yet to be named."""
    known = task in self.tasks if task else set(FINETUNING) <= set(self.tasks)
    return known and (not self.source or source.partition(":")[0] == self.source)

  def check(self, key: str, value: Any) -> None:
    """Raises InputError, with the key's name, unless the value is of the type and in the range."""
    if not self._is_typed(value):
      raise InputError(f"{key} must be {self.type_name}, got {value!r}.")
    if self.choices and value not in self.choices:
      raise unknown(key, value, self.choices)
    if type(value) in (int, float) and value != self.off and not self._in_range(value):
      raise InputError(f"{key} must be {self.range_name}, got {value}.")

  @property
  def type_name(self) -> str:
    """The type in words."""
    names = {bool: "True or False", int: "a whole number", float: "a number", str: "a text", tuple: "a list of texts"}
    return names[type(self.default)]

  @property
  def range_name(self) -> str:
    """The range in words; "" for any value of the type."""
    bounds = (("at least", self.low), ("more than", self.above), ("at most", self.high), ("less than", self.below))
    parts = [f"{word} {_number(bound)}" for word, bound in bounds if bound is not None]
    if not parts:
      return "finite" if isinstance(self.default, float) else ""
    return ("" if self.off is None else f"{_number(self.off)} (off), or ") + " and ".join(parts)

  def _is_typed(self, value: Any) -> bool:
    kind = type(self.default)
    if kind is tuple:
      return isinstance(value, list | tuple) and all(isinstance(item, str) for item in value)
    return type(value) is kind or (kind is float and type(value) is int)

  def _in_range(self, value: float) -> bool:
    return (
      math.isfinite(value)
      and (self.low is None or value >= self.low)
      and (self.high is None or value <= self.high)
      and (self.above is None or value > self.above)
      and (self.below is None or value < self.below)
    )


def _number(value: float) -> str:
  for exponent in (31, 32, 63, 64):
    if value == 2**exponent - 1:
      return f"2**{exponent} - 1"
  return f"{value:g}" if isinstance(value, float) else str(value)
