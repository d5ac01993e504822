"""The comparison of the arms: means, paired differences to the baseline, verdicts, Pareto fronts."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

from albert_jax.lab.outcome import statistics
from albert_jax.lab.spec import Lab

BASELINE = "baseline"
TOO_EARLY = "no verdict: too early"
NO_DATA = "no verdict: too few seeds"
SAME_COST = 0.005  # costs that differ by less are one


@dataclasses.dataclass(frozen=True)
class ArmRuns:
  """The reported runs of an arm.

  Attributes:
    values: the metric by seed; NaN where the run did not come to its end.
    below_unigram: nats by which they end below the loss of a model that knows word frequencies only; None where the
      metric is not the masked-LM loss.
  """

  values: Mapping[int, float]
  below_unigram: float | None

  @property
  def good(self) -> dict[int, float]:
    """The values of the runs that came to their end."""
    return {seed: value for seed, value in self.values.items() if math.isfinite(value)}

  @property
  def diverged(self) -> list[int]:
    """The seeds that did not."""
    return [seed for seed, value in self.values.items() if not math.isfinite(value)]


def compare(lab: Lab, runs: Mapping[str, ArmRuns]) -> dict:
  """Means of the arms, paired differences to the baseline, and verdicts.

  Returns:
    By arm: `values` by seed, `mean` and `difference` (as `statistics.Mean`), `p_holm`, `verdict`, `below_unigram`,
    `seeds_needed` for the margin, and `diverged`, the seeds that did not come to their end.
  """
  means = {name: statistics.t_interval(list(arm.good.values())) for name, arm in runs.items()}
  others = [name for name in runs if name != lab.baseline]
  differences = {name: paired(runs[name], runs[lab.baseline]) for name in others}
  p_holm = statistics.holm({name: difference.p for name, difference in differences.items()})
  gaps = [arm.below_unigram for arm in runs.values() if arm.good and arm.below_unigram is not None]
  is_late_enough = all(gap >= lab.gate for gap in gaps)
  found = {}
  for name, arm in runs.items():
    record = {
      "values": dict(arm.values),
      "mean": _record(means[name]),
      "below_unigram": arm.below_unigram,
      "diverged": arm.diverged,
    }
    if name == lab.baseline:
      record["verdict"] = BASELINE
    else:
      difference = differences[name]
      needed = statistics.seeds_needed(difference.sd, lab.margin, len(others))
      record |= {"difference": _record(difference), "p_holm": p_holm[name], "seeds_needed": needed}
      record["verdict"] = _verdict(lab, arm, runs[lab.baseline], difference, p_holm[name], is_late_enough)
    found[name] = record
  return found


def paired(a: ArmRuns, b: ArmRuns) -> statistics.Mean:
  """a − b over the seeds that both have."""
  return statistics.t_interval([a.good[seed] - b.good[seed] for seed in sorted(a.good) if seed in b.good])


def _verdict(
  lab: Lab, arm: ArmRuns, baseline: ArmRuns, difference: statistics.Mean, p_holm: float, is_late_enough: bool
) -> str:
  if arm.diverged:
    return f"diverged in {len(arm.diverged)} of {len(arm.values)} runs"
  if baseline.diverged:
    return "no verdict: the baseline diverged"
  if difference.n < 2:
    return NO_DATA
  if not is_late_enough:
    return TOO_EARLY
  return statistics.verdict(difference, p_holm, lab.margin)


def _record(mean: statistics.Mean) -> dict:
  return dataclasses.asdict(mean)


def front(lab: Lab, costs: Mapping[str, float], runs: Mapping[str, ArmRuns]) -> list[dict]:
  """The arms that no cheaper arm beats, from the cheapest on.

  Returns:
    Each with its `cost`, its `mean`, and its paired differences to all arms that cost no more, the nearest first.
  """
  sign = 1 if lab.lower_is_better else -1
  score = {name: sign * statistics.t_interval(list(runs[name].good.values())).mean for name in costs if runs[name].good}
  known = [name for name in score if math.isfinite(costs[name])]
  members: list[str] = []
  for name in sorted(known, key=lambda name: (costs[name], score[name])):
    if members and score[name] >= score[members[-1]]:
      continue
    if members and costs[name] <= costs[members[-1]] * (1 + SAME_COST):
      members.pop()
    members.append(name)
  found = []
  for name in members:
    affordable = [other for other in known if other != name and costs[other] <= costs[name] * (1 + SAME_COST)]
    rivals = [{"arm": other, **_record(paired(runs[name], runs[other]))} for other in affordable]
    rivals.sort(key=lambda rival: abs(rival["mean"]))
    found.append({"arm": name, "cost": costs[name], "mean": sign * score[name], "differences": rivals})
  return found


def is_one_cost(costs: Sequence[float]) -> bool:
  """Whether the arms cost the same."""
  known = [cost for cost in costs if math.isfinite(cost)]
  return bool(known) and max(known) <= min(known) * (1 + SAME_COST)


def is_certain(difference: Mapping) -> bool:
  """Whether the interval of a paired difference leaves out 0."""
  return difference["low"] > 0 or difference["high"] < 0
