"""How memory and transfers change as a slice or machine grows, with as many rows on each chip."""

import dataclasses
from collections.abc import Callable

import ml_collections

from albert_jax.errors import InputError
from albert_jax.files import new_file
from albert_jax.tools.planning.compiled import QUICK, Choice, Compiled, TooLarge, compile_step
from albert_jax.tools.planning.machines import machine_of, open_devices

MIB = 2**20


@dataclasses.dataclass(frozen=True)
class Point:
  """A slice, the rows of its batch, and the step compiled for it."""

  topology: str
  chips: int
  batch_size: int
  compiled: Compiled


def scale(
  config: ml_collections.ConfigDict, topology: str, choice: Choice, say: Callable[[str], None] = lambda line: None
) -> list[Point]:
  """Compiles the step for slices of a kind; rows of a chip, microbatches, remat, fsdp and tensor stay as chosen.

  Args:
    config: a record from `configs/`.
    topology: that the choice was made for.
    choice: from a plan.
    say: is told of each slice.
  """
  kind, chip = topology.partition(":")[0], machine_of(topology)
  rows = config.train.batch_size // (choice.data * choice.fsdp)
  points = []
  for shape in chip.shapes:
    devices = open_devices(f"{kind}:{shape}")
    data = len(devices) // (choice.fsdp * choice.tensor)
    grown = config.copy_and_resolve_references()
    grown.train.batch_size = rows * data * choice.fsdp
    compiled = compile_step(grown, devices, chip.memory, dataclasses.replace(choice, data=data), QUICK)
    if isinstance(compiled, TooLarge):
      say(f"{kind}:{shape} needs {compiled.needed / 2**30:.1f} GiB on a chip: left out")
      continue
    say(f"{kind}:{shape} compiled")
    points.append(Point(f"{kind}:{shape}", len(devices), grown.train.batch_size, compiled))
  return points


def table(points: list[Point]) -> str:
  """The points in Markdown, MiB of a chip and a step; the state is that of the run."""
  lines = [
    "| slice | chips | batch | memory | input | transfers | train state |",
    "|---|---:|---:|---:|---:|---:|---:|",
  ]
  for point in points:
    sizes = (sum(point.compiled.memory.values()), point.compiled.input_bytes, sum(point.compiled.sent.values()))
    sizes = " | ".join(f"{size / MIB:,.2f}" for size in (*sizes, point.compiled.state_bytes))
    lines.append(f"| {point.topology} | {point.chips} | {point.batch_size:,} | {sizes} |")
  return "\n".join(lines)


def draw(points: list[Point], name: str, output: str) -> None:
  """A picture with two panels: memory of a chip by kind, and bytes that it sends in a step by kind of collective.

  Raises:
    InputError: matplotlib is not there, or the file cannot be written.
  """
  try:
    from matplotlib.figure import Figure
  except ImportError as error:
    raise InputError("--picture needs matplotlib: pip install -e '.[plan]'.") from error
  figure = Figure(figsize=(10.4, 3.8), layout="constrained")
  memory, transfers = figure.subplots(1, 2)
  _stack(memory, points, [point.compiled.memory for point in points], "memory of a chip (GiB)", 2**30)
  _stack(transfers, points, [point.compiled.sent for point in points], "sent by a chip in a step (MiB)", MIB)
  rows = points[0].batch_size // points[0].chips
  figure.suptitle(f"{name} on {points[0].topology.partition(':')[0]}, {rows} rows on each chip")
  try:
    with new_file(output) as path:
      figure.savefig(path, dpi=160)
  except (OSError, ValueError) as error:
    raise InputError(f"--picture={output} cannot be written ({error}).") from error


def _stack(axes, points: list[Point], sizes: list[dict[str, float]], label: str, unit: int) -> None:
  bottom = [0.0] * len(points)
  places = range(len(points))
  for kind in dict.fromkeys(kind for size in sizes for kind in size):
    heights = [size.get(kind, 0) / unit for size in sizes]
    axes.bar(places, heights, bottom=bottom, label=kind, width=0.7)
    bottom = [a + b for a, b in zip(bottom, heights)]
  axes.set(xlabel="chips", ylabel=label)
  axes.set_ylim(0, 1.35 * max(bottom))  # room for the legend
  axes.set_xticks(places, [str(point.chips) for point in points])
  axes.legend(frameon=False, fontsize="small", ncols=2, loc="upper left")
  axes.spines[["top", "right"]].set_visible(False)
  axes.grid(axis="y", alpha=0.25)
