"""Adapts arms so that they have the parameters, the FLOPs or the time of the baseline.

Parameters are matched by the widths. First comes the model's, in steps of a head, at the base's ratio of feed-forward
width to model width; then the feed-forward width closes the gap, by multiples of 8 if possible. FLOPs and time are
matched by the steps, and everything that is counted in steps stretches with them.
"""

from collections.abc import Callable, Iterator

import jax
import ml_collections
import numpy as np

from albert_jax.commands.dry_run import params_by_part
from albert_jax.errors import InputError
from albert_jax.lab.cost import body, cost
from albert_jax.lab.spec import Overrides, apply
from albert_jax.tasks import make_task

TOLERANCE = 1e-3
FFN_STEPS = (8, 1)  # multiples of 8 suit all hardware; others are tried where none of these will do
WIDEST = 2**16
_LOPSIDED = 2.0  # the ratio of the widths may become so much larger or smaller than the base's

Count = Callable[[int, int], int]  # (width, ffn) → parameters


def match_params(config: ml_collections.ConfigDict, target: int, *, total: bool, where: str) -> Overrides:
  """The widths with which a model has as many parameters as `target`.

  Args:
    config: of the arm.
    target: parameters.
    total: count all parameters, not only those of the layers.
    where: names the arm in messages.

  Raises:
    InputError: no widths come within 0.1%; names the nearest.
  """
  model = config.model
  head = model.width // model.heads
  ties_embedding = model.embedding == model.width and not model.project_embeddings

  def shape(width: int, ffn: int) -> Overrides:
    changed = {"model.width": width, "model.heads": width // head, "model.ffn": ffn}
    return {**changed, "model.embedding": width} if ties_embedding else changed

  def count(width: int, ffn: int) -> int:
    task = make_task(apply(config, shape(width, ffn), where))
    parts = params_by_part(jax.eval_shape(task.init, jax.random.key(0)))
    return sum(parts.values()) if total else body(parts)

  if abs(count(model.width, model.ffn) / target - 1) <= TOLERANCE:
    return {}
  width, ffn, _ = search_widths(polynomial(count, head), target, head=head, ratio=model.ffn / model.width)
  found = count(width, ffn)
  if abs(found / target - 1) > TOLERANCE:
    raise InputError(
      f"{where}: no widths give {target:,} parameters to within 0.1%; the nearest are model.width {width} and "
      f"model.ffn {ffn} with {found:,} ({found / target - 1:+.2%}). Take a larger base, or match something else."
    )
  return shape(width, ffn)


def polynomial(count: Count, head: int) -> Count:
  """The same function from five of its values: parameters are a sum of multiples of 1, D, F, D² and D·F."""

  def powers(width: int, ffn: int) -> list[int]:
    return [1, width, ffn, width * width, width * ffn]

  points = [(head, 8), (head, 16), (2 * head, 8), (2 * head, 16), (3 * head, 8)]
  coefficients = np.linalg.solve(np.array([powers(*point) for point in points], float), [count(*p) for p in points])
  return lambda width, ffn: round(float(np.dot(coefficients, powers(width, ffn))))


def search_widths(count: Count, target: int, *, head: int, ratio: float) -> tuple[int, int, int]:
  """The first width, going outward from the base's proportions, that comes within the tolerance, or else the nearest.

  Args:
    count: parameters by (width, ffn); grows with both, and linearly with ffn.
    target: parameters.
    head: width of a head.
    ratio: ffn / width of the base.

  Returns:
    width, ffn and the parameters that they give.
  """
  nearest, found = _near_width(count, target, head, ratio), []
  for step in FFN_STEPS:
    for width in _outward(nearest, head):
      base, slope = count(width, step), count(width, 2 * step) - count(width, step)
      ffn = step * max(1, 1 + round((target - base) / slope))
      error = abs(count(width, ffn) / target - 1)
      if 1 / _LOPSIDED <= ffn / width / ratio <= _LOPSIDED or not found:
        found.append((error, width, ffn))
      if found[-1] == (error, width, ffn) and error <= TOLERANCE:
        return width, ffn, count(width, ffn)
  _, width, ffn = min(found)
  return width, ffn, count(width, ffn)


def _near_width(count: Count, target: int, head: int, ratio: float) -> int:
  """The greatest width whose model is not larger than the target, at the base's proportions; at least one head."""

  def fits(heads: int) -> bool:
    return count(heads * head, _ffn(heads * head, ratio)) <= target

  low, high = 1, 2
  while high * head < WIDEST and fits(high):
    low, high = high, 2 * high
  while high - low > 1:
    middle = (low + high) // 2
    low, high = (middle, high) if fits(middle) else (low, middle)
  return low * head


def _ffn(width: int, ratio: float) -> int:
  return max(FFN_STEPS[0], round(width * ratio / FFN_STEPS[0]) * FFN_STEPS[0])


def _outward(width: int, head: int) -> Iterator[int]:
  yield width
  for distance in range(1, 6):
    yield width + distance * head
    if width > distance * head:
      yield width - distance * head


def match_steps(config: ml_collections.ConfigDict, steps: int, target: float) -> Overrides:
  """The keys that are counted in steps, stretched so that a run of `steps` becomes one of `target` steps."""
  new = max(1, round(target))
  stretched = {"train.steps": new}
  for key in ("optimizer.warmup_steps", "eval.every"):
    group, name = key.split(".")
    if config[group][name]:
      stretched[key] = max(1, round(config[group][name] * new / steps))
  return stretched


def match_arm(
  config: ml_collections.ConfigDict,
  baseline: ml_collections.ConfigDict,
  match: str,
  seconds: tuple[float, float] | None,
) -> tuple[Overrides, float]:
  """What an arm changes to be matched, and the relative error that is left.

  Args:
    config: of the arm.
    baseline: of the baseline.
    match: as in `Lab`.
    seconds: of a step of the arm and of the baseline, for "time".

  Raises:
    InputError: no widths match.
  """
  if match == "shape":
    return {}, 0.0
  own, target = cost(config), cost(baseline)
  if match.startswith("params"):
    total = match == "params_total"
    wanted = target.total if total else target.body
    changed = match_params(config, wanted, total=total, where=f"arm {config.name}, match={match}")
    found = cost(apply(config, changed, config.name))
    return changed, (found.total if total else found.body) / wanted - 1
  if match == "flops":
    per_step, budget = own.flops / own.steps, target.flops
  else:
    per_step, budget = seconds[0], seconds[1] * target.steps
  changed = match_steps(config, own.steps, budget / per_step)
  return changed, changed["train.steps"] * per_step / budget - 1
