"""The kernels of a step compiled for a GPU: FLOPs, bytes in and out, and the line of the model that each comes from.

XLA's text holds one operation for each kernel that is launched: a fusion, a library call or a copy. What a fusion
computes inside costs no memory traffic, so bytes are those of its operands and results. Of an operand that is only
sliced, the slices count; what is updated in place counts by the size of the update.
"""

import dataclasses
import math
import re

from albert_jax.tools.planning import hlo
from albert_jax.tools.planning.hlo import Operation

PRODUCTS, ATTENTION = "matrix products", "attention"
COPIES = "copies"
# (file of albert_jax, function or class) → group; the first that matches the innermost frame, "" matches any function.
_GROUPS = (
  ("models/layers.py", "LayerNorm", "normalisation"),
  ("models/layers.py", "activation", "activation"),
  ("models/layers.py", "Dense", "biases"),
  ("models/layers.py", "Embeddings", "embeddings"),
  ("models/layers.py", "", "residuals"),
  ("models/dropout.py", "", "dropout"),
  ("models/attention.py", "", "softmax"),
  ("models/heads.py", "", "head and loss"),
  ("tasks/", "", "head and loss"),
  ("optim/", "", "optimizer"),
  ("training/", "", "optimizer"),
)
_NOT_KERNELS = {
  *("parameter", "constant", "tuple", "get-tuple-element", "bitcast", "while", "call", "conditional", "after-all"),
  *("partition-id", "replica-id", "opt-barrier", "async-start", "async-update", "async-done", "copy-done"),
}
_SLICES = ("slice", "dynamic-slice", "gather")
_IN_PLACE = {"dynamic-update-slice": 1, "scatter": 2}  # kind → which operand is the update
_CONTROL = re.compile(r"\b(?:to_apply|body|calls|true_computation|false_computation)=%?([\w.-]+)")
_BRANCHES = re.compile(r"\bbranch_computations=\{([^}]*)\}")
_CONTRACTED = re.compile(r'lhs_contracting_dim(?:s=\{|ensions":\[)([\d",]*)')
_WORKSPACE = re.compile(r"\b[su]8\[\d+\]")  # of a library call, the last of its results
_TABLE = re.compile(r"^(\d+) (?:\"(.*)\"|\{(.*)\})$")


@dataclasses.dataclass(frozen=True)
class Kernel:
  """A kernel as the step launches it.

  Attributes:
    name: of the operation.
    group: what it is for: matrix products, attention (fused), normalisation, …
    flops: of its matrix products, for one launch.
    bytes: read and written, for one launch.
    times: launches in a step.
    source: "file:line" of the innermost line of the project, "" where the compiler names none.
  """

  name: str
  group: str
  flops: float
  bytes: int
  times: int
  source: str


def kernels(text: str) -> list[Kernel]:
  """The kernels of a compiled program, in the order of the text."""
  computations, entry = hlo.parse(text)
  times, frames = hlo.run_counts(computations, entry), _Frames(text)
  found = []
  for name in _running(computations, entry):
    shapes = {operation.name: operation for operation in computations[name]}
    for operation in computations[name]:
      if operation.kind in _NOT_KERNELS or operation.kind.startswith(hlo.COLLECTIVES):
        continue
      flops = _flops(operation, shapes, computations)
      source, function = frames.source(operation)
      group = _group(operation, flops, source, function)
      found.append(Kernel(operation.name, group, flops, _bytes(operation, shapes, computations), times[name], source))
  return found


def _running(computations: dict[str, list[Operation]], entry: str) -> list[str]:
  """The computations whose operations are launched one by one: the program, and what its control flow calls."""
  found = [entry]
  for name in found:
    for operation in computations[name]:
      if operation.kind in ("while", "call", "conditional", "async-start"):
        callees = _CONTROL.findall(operation.rest)
        for branches in _BRANCHES.findall(operation.rest):
          callees += re.findall(r"[\w.-]+", branches)
        found += [callee for callee in callees if callee in computations and callee not in found]
  return found


def _operands(operation: Operation) -> list[str]:
  return re.findall(r"%([\w.-]+)", operation.rest.partition(")")[0])


def _callee(operation: Operation, computations: dict[str, list[Operation]]) -> list[Operation]:
  """What a fusion computes; [] for any other operation."""
  called = re.search(r"\bcalls=%?([\w.-]+)", operation.rest)
  return computations.get(called.group(1), []) if called and operation.kind == "fusion" else []


def _bytes(operation: Operation, shapes: dict[str, Operation], computations: dict[str, list[Operation]]) -> int:
  inner, operands = _callee(operation, computations), _operands(operation)
  if not inner:
    written = operation.bytes
    if operation.kind == "custom-call" and operation.shape.startswith("("):
      written -= hlo.size_of(" ".join(_WORKSPACE.findall(operation.shape)))
    return written + sum(shapes[name].bytes for name in dict.fromkeys(operands) if name in shapes)
  read: dict[str, int] = {}
  for number, name in enumerate(operands):
    whole = shapes[name].bytes if name in shapes else 0
    read[name] = min(whole, read.get(name, 0) + _bytes_read(inner, number, whole))
  return sum(read.values()) + _bytes_written(inner)


def _bytes_read(inner: list[Operation], number: int, whole: int) -> int:
  """Of an operand of a fusion: all of it, or what is sliced out of it; nothing of what is updated in place."""
  names = {o.name for o in inner if o.kind == "parameter" and o.rest.startswith(f"{number})")}
  total = 0
  for operation in inner:
    operands = _operands(operation)
    if not names & {*operands}:
      continue
    if operation.kind == "bitcast":
      names.add(operation.name)
    elif operation.kind in _SLICES and operands[0] in names:
      total += operation.bytes
    elif not (operation.kind in _IN_PLACE and operands[0] in names):
      return whole
  return min(total, whole)


def _bytes_written(inner: list[Operation]) -> int:
  by_name = {operation.name: operation for operation in inner}
  root = inner[-1]
  results = [by_name[name] for name in _operands(root)] if root.kind == "tuple" else [root]
  total = 0
  for result in results:
    source = result
    while source.kind == "bitcast" and _operands(source)[0] in by_name:
      source = by_name[_operands(source)[0]]
    if source.kind in _IN_PLACE:
      result = by_name[_operands(source)[_IN_PLACE[source.kind]]]
    total += result.bytes
  return total


def _flops(operation: Operation, shapes: dict[str, Operation], computations: dict[str, list[Operation]]) -> float:
  """Of the matrix products in an operation, for one run."""
  if operation.kind == "dot" or "__cublas" in operation.rest:
    contracted = _CONTRACTED.search(operation.rest)
    lhs = hlo.dims(shapes[_operands(operation)[0]].shape)
    axes = [int(axis) for axis in re.findall(r"\d+", contracted.group(1))] if contracted else []
    return 2.0 * math.prod(hlo.dims(operation.shape)) * math.prod(lhs[axis] for axis in axes)
  if "__cudnn$fmha" in operation.rest:
    scores = re.search(r'"intermediate_tensor_shape":.*?"dimensions":\s*\[([^\]]*)\]', operation.rest)
    head = hlo.dims(shapes[_operands(operation)[0]].shape)[-1]
    products = 5 if "Backward" in operation.rest else 2
    return 2.0 * products * head * math.prod(int(n) for n in re.findall(r"\d+", scores.group(1)))
  inner = _callee(operation, computations)
  by_name = {o.name: o for o in inner}
  return sum(_flops(o, by_name, computations) for o in inner if o.kind in ("dot", "fusion"))


def _group(operation: Operation, flops: float, source: str, function: str) -> str:
  if "__cudnn$fmha" in operation.rest:
    return ATTENTION
  if flops:
    return PRODUCTS
  if operation.kind == "copy":
    return COPIES
  file = source.rpartition(":")[0]
  for folder, name, group in _GROUPS:
    if file.startswith(folder) and function.startswith(name):
      return group
  return COPIES


class _Frames:
  """The tables of a program's text that say which line of which function an operation comes from."""

  def __init__(self, text: str):
    self._tables: dict[str, dict[int, str]] = {}
    table: dict[int, str] = {}
    for line in text.splitlines():
      if line in ("FileNames", "FunctionNames", "FileLocations", "StackFrames"):
        table = self._tables.setdefault(line, {})
      elif entry := _TABLE.match(line):
        table[int(entry.group(1))] = entry.group(2) or entry.group(3)
      elif line.startswith(("ENTRY", "%")):
        break

  def source(self, operation: Operation) -> tuple[str, str]:
    """(file:line, function) of the innermost frame in the package; the file is relative to it."""
    named = re.search(r"\bstack_frame_id=(\d+)", operation.rest)
    frame = int(named.group(1)) if named else 0
    while frame in self._tables.get("StackFrames", {}):
      stack = self._fields("StackFrames", frame)
      place = self._fields("FileLocations", stack["file_location_id"])
      path = self._tables["FileNames"][place["file_name_id"]]
      if "/albert_jax/" in path:
        file = path.rpartition("/albert_jax/")[2]
        return f"{file}:{place['line']}", self._tables["FunctionNames"][place["function_name_id"]]
      parent = stack.get("parent_frame_id", 0)
      frame = parent if parent != frame else 0
    return "", ""

  def _fields(self, table: str, number: int) -> dict[str, int]:
    return {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", self._tables[table][number])}
