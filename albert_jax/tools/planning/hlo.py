"""Reads the text of a compiled program: how often each operation runs, and what the chips send each other.

XLA's own cost analysis counts the body of a loop once; here a loop's operations count as often as it turns.
"""

import dataclasses
import math
import re
from collections.abc import Iterator

COLLECTIVES = ("all-reduce", "reduce-scatter", "all-gather", "all-to-all", "collective-permute")
ITEM_BITS = dict(
  pred=8, s4=4, u4=4, s8=8, u8=8, s16=16, u16=16, bf16=16, f16=16, s32=32, u32=32, f32=32, s64=64, f64=64
)

_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.-]+) \(.*\{$")
_OPERATION = re.compile(r"^\s+(?:ROOT )?%?([\w.-]+) = (\(.*?\)|\S+) ([a-z][\w-]*)\((.*)$")
_ARRAY = re.compile(r"\b([a-z]\w*)\[([\d,]*)\]")
_CALLEES = re.compile(r"\b(?:calls|to_apply|body)=%?([\w.-]+)|branch_computations=\{([^}]*)\}")
_CYCLES = re.compile(r'"estimated_cycles":"(\d+)"')

_UNKNOWN_CYCLES = 2**62


@dataclasses.dataclass(frozen=True)
class Operation:
  """One instruction of a compiled program.

  Attributes:
    name: its own.
    shape: of the result, as HLO writes it.
    kind: the opcode.
    rest: what follows the opcode: operands and attributes.
    computation: where it stands.
    times: how often it runs in one run of the program.
  """

  name: str
  shape: str
  kind: str
  rest: str
  computation: str
  times: int = 1

  @property
  def bytes(self) -> int:
    """Size of the result."""
    return size_of(self.shape)

  @property
  def cycles(self) -> int:
    """The compiler's estimate for one run; 0 where it gives none, or says that it has none."""
    found = _CYCLES.search(self.rest)
    cycles = int(found.group(1)) if found else 0
    return cycles if cycles < _UNKNOWN_CYCLES else 0


@dataclasses.dataclass(frozen=True)
class Collective:
  """A transfer between chips.

  Attributes:
    kind: one of `COLLECTIVES`.
    bytes: of one chip's share: the larger of what goes in and what comes out.
    group: chips that take part in one transfer.
    times: how often it runs in a step.
  """

  kind: str
  bytes: int
  group: int
  times: int

  @property
  def sent(self) -> float:
    """Bytes that each chip sends in a step, by the ring algorithms."""
    if self.kind == "collective-permute":
      return self.bytes * self.times
    passes = 2 if self.kind == "all-reduce" else 1
    return passes * self.bytes * (self.group - 1) / self.group * self.times


def operations(text: str) -> Iterator[Operation]:
  """Every operation that runs, with the number of its runs; what is inside a fusion, too."""
  computations, entry = parse(text)
  times = run_counts(computations, entry)
  for name, body in computations.items():
    for operation in body if times.get(name) else ():
      yield dataclasses.replace(operation, times=times[name])


def collectives(text: str, chips: int) -> list[Collective]:
  """The transfers of a program for a number of chips.

  One that the compiler has cut into a start and an end appears in both under one channel, and is counted once.
  """
  found = {}
  for operation in operations(text):
    kind = next((kind for kind in COLLECTIVES if operation.kind in (kind, f"{kind}-start")), None)
    if kind is None:
      continue
    group, size = _group_size(operation.rest, chips), operation.bytes
    if operation.kind.endswith("-start") and kind != "all-reduce":
      size //= 2  # the shape holds what goes in and what comes out; near enough where the two differ
    if kind == "reduce-scatter":
      size *= group
    elif kind == "all-reduce" and "all-reduce-scatter" in operation.computation:
      kind = "reduce-scatter"  # as the TPU compiler writes it
    channel = re.search(r"channel_id=(\d+)", operation.rest)
    found[channel.group(1) if channel else operation.name] = Collective(kind, size, group, operation.times)
  return [collective for collective in found.values() if collective.group > 1]


def parse(text: str) -> tuple[dict[str, list[Operation]], str]:
  """The operations of each computation, and the name of the one that is the program."""
  computations: dict[str, list[Operation]] = {}
  name = entry = ""
  for line in text.splitlines():
    if head := _COMPUTATION.match(line):
      name = head.group(2)
      entry = name if head.group(1) else entry
      computations[name] = []
    elif found := _OPERATION.match(line):
      computations[name].append(Operation(*found.groups(), name))
  return computations, entry


def run_counts(computations: dict[str, list[Operation]], entry: str) -> dict[str, int]:
  """How often each computation runs. Those of the text come before their callers."""
  times = {entry: 1}
  for name in reversed(computations):
    for operation in computations[name] if name in times else ():
      turns = _turns(computations, operation) if operation.kind == "while" else 1
      for one, several in _CALLEES.findall(operation.rest):
        for callee in [one] if one else re.findall(r"[\w.-]+", several):
          times[callee] = times.get(callee, 0) + times[name] * turns
  return times


def size_of(shape: str) -> int:
  """Bytes of all arrays in a shape as HLO writes it."""
  return sum(
    math.prod(int(n) for n in dims.split(",") if n) * ITEM_BITS[dtype] // 8
    for dtype, dims in _ARRAY.findall(shape)
    if dtype in ITEM_BITS
  )


def dims(shape: str) -> list[int]:
  """The dims of a shape as HLO writes it; of a tuple, those of its first array."""
  first = _ARRAY.search(shape)
  return [int(n) for n in first.group(2).split(",") if n] if first else []


def _turns(computations: dict[str, list[Operation]], loop: Operation) -> int:
  """How often a loop turns: what the compiler says, or the one integer that its condition compares with, or 1."""
  if known := re.search(r'"known_trip_count":\s*\{"n":"(\d+)"', loop.rest):
    return int(known.group(1))
  condition = re.search(r"condition=%?([\w.-]+)", loop.rest).group(1)
  limits = [re.match(r"(\d+)\)", o.rest) for o in computations[condition] if o.kind == "constant"]
  return max((int(limit.group(1)) for limit in limits if limit), default=1)


def _group_size(rest: str, chips: int) -> int:
  """Chips in a replica group: written as a list, as an iota, or by the axes of a mesh."""
  if "source_target_pairs=" in rest:
    return 2
  if mesh := re.search(r"replica_groups=mesh\[(.*?)\].*?\{([^}]*)\}", rest):
    sizes = dict(re.findall(r"'(\w+)'=(\d+)", mesh.group(1)))
    parts = re.findall(r"'(\w+)'(?::\(\d+\)(\d+))?", mesh.group(2))
    return math.prod(int(part or sizes[axis]) for axis, part in parts)
  if iota := re.search(r"replica_groups=\[\d+,(\d+)\]", rest):
    return int(iota.group(1))
  if listed := re.search(r"replica_groups=\{\{([\d,]*)\}", rest):
    return listed.group(1).count(",") + 1
  return chips
