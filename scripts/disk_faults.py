"""The faults of a disk for `fault_injection.py`: damaged files of a checkpoint, and no room for the next one."""

import collections
import contextlib
import io
import itertools
import json
import os
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
from observed_run import LOG, digest, fork

from albert_jax.checkpoints import manager, manifest
from albert_jax.checkpoints.manager import Checkpoints

_FLIPS = 8  # bits of each file, one at a time
_DISKS = 8  # sizes of a disk


def _flip(data: bytes) -> bytes:
  place = random.randrange(len(data))
  return data[:place] + bytes([data[place] ^ 1 << random.randrange(8)]) + data[place + 1 :]


# What becomes of a file's bytes; None: there is no file any more.
FAULTS: dict[str, list[Callable[[bytes], bytes | None]]] = {
  "flipped": [_flip] * _FLIPS,
  "truncated": [lambda data: data[:-1], lambda data: data[: len(data) // 2], lambda data: data[:1]],
  "deleted": [lambda data: None],
  "emptied": [lambda data: b""],
}


def damage_files(bench) -> dict:
  """Damages every file of a run's newest checkpoint in every way, one at a time.

  Each time the checkpoint must be refused and the one before it restored, with the parameters that it had. Once for
  each kind of fault the run itself goes on, and must end as the unbroken one.

  Args:
    bench: the `Bench` whose unbroken run is damaged.
  """
  result = bench.folder / "damage.json"
  os.waitpid(fork(lambda: _try_all(bench.reference, bench.folder / "copy", result)), 0)  # JAX must not start here
  report = json.loads(result.read_text())
  for kind, variants in FAULTS.items():
    run = shutil.copytree(bench.reference, bench.new_run(), dirs_exist_ok=True)
    newest, _ = _newest_two(run)
    path = random.choice([path for path in _files(newest) if path.stat().st_size])
    _replace(path, variants[0](path.read_bytes()))
    statuses = bench.finish(run)
    aside = (newest.parent / f"damaged-{newest.name}-1").is_dir()
    report["resumed"][kind] = f"{path.relative_to(newest)}: {statuses}"
    report["problems"] += [f"{run.name}, {path} {kind}: ended with {statuses}"] * any(statuses)
    report["problems"] += [f"{run.name}, {path} {kind}: not set aside"] * (not aside) + bench.differences(run)
  report["equal"] = not report["problems"]
  _print(report)
  return report


def _try_all(run: Path, copy: Path, result: Path) -> int:
  """Tries the faults on copies; writes how many were noticed."""
  newest, before = _newest_two(run)
  expected, problems, counts = _restored(run, int(before.name)), [], collections.Counter()
  names = [path.relative_to(run) for path in _files(newest)]
  for name, (kind, variants) in itertools.product(names, FAULTS.items()):
    data = (run / name).read_bytes()
    for changed in {change(data) for change in variants if data or kind == "deleted"} - {data}:
      shutil.copytree(run / manager.FOLDER, copy / manager.FOLDER)
      _replace(copy / name, changed)
      with contextlib.redirect_stderr(io.StringIO()) as told:
        found = _restored(copy, None)
      if found != expected or "is damaged" not in told.getvalue():
        problems.append(f"{name} {kind}: {told.getvalue() or 'silent'}")
      counts[kind] += 1
      shutil.rmtree(copy)
  report = {
    "files": len(names),
    "faults": dict(counts),
    "unnoticed": len(problems),
    "resumed": {},
    "problems": problems,
  }
  result.write_text(json.dumps(report))
  return 0


def fill_disks(bench) -> dict:
  """Lets runs fill disks of several sizes; each must say so and end, and go on once there is room.

  Args:
    bench: gives the run that is to come out.
  """
  newest, _ = _newest_two(bench.reference)
  step = sum(path.stat().st_blocks * 512 for path in _files(newest))
  statuses, problems = collections.Counter(), []
  for number in range(_DISKS):
    size = round((3 + number / _DISKS) * step) + (128 << 10)  # for tokenizer, log and TensorBoard
    run = bench.new_run()
    with _small_disk(run / "disk", size) as grow:
      workdir = run / "disk" / "run"
      first = bench.finish(run, ["--config.checkpoint.keep=99"], workdir=workdir)
      told = (run / LOG).read_text()
      steps = [path for path in (workdir / manager.FOLDER).glob("*") if path.name.isdecimal()]
      damaged = [manifest.problem(path) for path in steps if manifest.problem(path)]
      grow()
      last = bench.finish(run, ["--config.checkpoint.keep=99"], workdir=workdir)
    statuses[str(first)] += 1
    print(f"     {size >> 10} KiB: {len(steps)} checkpoints, {first}, then {last}", flush=True)
    if not all(first) or any(last) or not steps or damaged or " is full" not in told:
      problems.append(f"{size} bytes: {first}, {last}, {len(steps)} checkpoints, {damaged}, {told[-500:]}")
    problems += bench.differences(run)
  report = {"disks": _DISKS, "statuses": dict(statuses), "equal": not problems, "problems": problems}
  _print(report)
  return report


@contextlib.contextmanager
def _small_disk(folder: Path, size: int) -> Iterator[Callable[[], None]]:
  """A file system of so many bytes, in memory; yields what gives it more room."""
  folder.mkdir()
  subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=True)
  try:
    yield lambda: subprocess.run(["mount", "-o", "remount,size=1g", folder], check=True)
  finally:
    subprocess.run(["umount", folder], check=True)


def _restored(workdir: Path, step: int | None) -> list:
  """Step and digest of the parameters that are restored from a run, by default from its newest checkpoint."""
  checkpoints = Checkpoints(str(workdir), read_only=True)
  step = checkpoints.latest() if step is None else step
  place = jax.sharding.SingleDeviceSharding(jax.devices()[0])
  specs = checkpoints.param_specs(step)
  wanted = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place), specs)
  return [step, digest(checkpoints.restore_params(wanted, step))]


def _newest_two(run: Path) -> list[Path]:
  steps = (path for path in (run / manager.FOLDER).iterdir() if path.name.isdecimal())
  return sorted(steps, key=lambda path: int(path.name), reverse=True)[:2]


def _files(folder: Path) -> list[Path]:
  return sorted(path for path in folder.rglob("*") if path.is_file())


def _replace(path: Path, data: bytes | None) -> None:
  if data is None:
    path.unlink()
  else:
    path.write_bytes(data)


def _print(report: dict) -> None:
  for key, value in report.items():
    print(f"  {key:<28}{value}", flush=True)
