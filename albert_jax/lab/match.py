"""Adapts arms so that they have the parameters, the FLOPs or the time of the baseline.

Parameters are matched by the widths. First comes the model's, in steps of a head, at the base's ratio of feed-forward
width to model width; then the feed-forward width, in steps of 8, closes the gap. FLOPs and time are matched by the
steps, and everything that is counted in steps stretches with them.
"""

from collections.abc import Callable, Iterator

import jax
import ml_collections

from albert_jax.commands.dry_run import params_by_part
from albert_jax.errors import InputError
from albert_jax.lab.cost import body, cost
from albert_jax.lab.spec import Overrides, apply
from albert_jax.tasks import make_task

TOLERANCE = 1e-3
FFN_STEP = 8
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
  model, seen = config.model, {}
  head = model.width // model.heads
  ties_embedding = model.embedding == model.width and not model.project_embeddings

  def shape(width: int, ffn: int) -> Overrides:
    changed = {"model.width": width, "model.heads": width // head, "model.ffn": ffn}
    return {**changed, "model.embedding": width} if ties_embedding else changed

  def count(width: int, ffn: int) -> int:
    if (width, ffn) not in seen:
      task = make_task(apply(config, shape(width, ffn), where))
      parts = params_by_part(jax.eval_shape(task.init, jax.random.key(0)))
      seen[width, ffn] = sum(parts.values()) if total else body(parts)
    return seen[width, ffn]

  if abs(count(model.width, model.ffn) / target - 1) <= TOLERANCE:
    return {}
  width, ffn, found = search_widths(count, target, head=head, ratio=model.ffn / model.width)
  if abs(found / target - 1) > TOLERANCE:
    raise InputError(
      f"{where}: no widths give {target:,} parameters to within 0.1%; the nearest are model.width {width} and "
      f"model.ffn {ffn} with {found:,} ({found / target - 1:+.2%}). Take a larger base, or match something else."
    )
  return shape(width, ffn)


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
  found = []
  for width in _outward(_near_width(count, target, head, ratio), head):
    base, slope = count(width, FFN_STEP), count(width, 2 * FFN_STEP) - count(width, FFN_STEP)
    ffn = FFN_STEP * max(1, 1 + round((target - base) / slope))
    if 1 / _LOPSIDED <= ffn / width / ratio <= _LOPSIDED or not found:
      found.append((abs(count(width, ffn) / target - 1), width, ffn))
    if found[-1][0] <= TOLERANCE:
      break
  _, width, ffn = min(found[-1:] if found[-1][0] <= TOLERANCE else found)
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
  return max(FFN_STEP, round(width * ratio / FFN_STEP) * FFN_STEP)


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
