"""The answer of a lab in sentences: which arm to take for a given budget, and how sure that is."""

from collections.abc import Mapping

from albert_jax.lab.compare import SAME_COST, is_certain
from albert_jax.lab.page import pictures
from albert_jax.lab.page.numbers import code, interval, quantity, signed, value, verdict

BUDGETS = {
  "params": "Parameters of the layers",
  "flops": "Training FLOPs",
  "memory": "Memory of a step",
  "time": "Time of stepping",
}


def answer(results: Mapping) -> str:
  """The first box of the page."""
  arms, lab, progress = results["arms"], results["lab"], results["progress"]
  known = {name: arm["mean"]["mean"] for name, arm in arms.items() if arm["mean"]["mean"] is not None}
  if not known:
    return "<p><strong>No answer yet:</strong> no run that is compared has ended.</p>"
  lines = []
  if early := [name for name, arm in arms.items() if _is_early(arm, lab["gate"])]:
    lines.append(
      f"<p class=warn><strong>No answer yet.</strong> {', '.join(map(code, early))}: less than "
      f"{value(lab['gate'])} nats below a model that knows word frequencies only. Differences this early are about "
      "when a model leaves that line, not about how good it becomes. Train for longer.</p>"
    )
  best = (min if lab["lower_is_better"] else max)(known, key=known.__getitem__)
  word = "Lowest" if lab["lower_is_better"] else "Highest"
  count = arms[best]["mean"]["n"]
  lines.append(
    f"<p class=lead>{word} {pictures.metric_name(lab['metric'])}: <strong>{code(best)}</strong>, "
    f"{value(known[best])} (mean of {count} seed{'s' if count != 1 else ''}).</p>"
  )
  lines.append(_verdicts(results))
  if progress["finished"] < progress["planned"]:
    lines.append(
      f"<p class=warn>{progress['finished']} of {progress['planned']} runs have ended; the rest may change this.</p>"
    )
  return "\n".join(lines)


def _is_early(arm: Mapping, gate: float) -> bool:
  return arm["below_unigram"] is not None and arm["below_unigram"] < gate


def _verdicts(results: Mapping) -> str:
  arms, baseline, items = results["arms"], results["lab"]["baseline"], []
  for name, arm in arms.items():
    difference = arm.get("difference")
    if difference is None or difference["mean"] is None:
      continue
    sure = f" {interval(difference)}" if difference["low"] is not None else ""
    share = arm["cost"]["body"] / arms[baseline]["cost"]["body"]
    size = f", with {100 * share:.3g}% of its layers' parameters," if abs(share - 1) > SAME_COST else ""
    told = verdict(arm["verdict"], results["lab"]["lower_is_better"])
    items.append(f"<li>{code(name)} against {code(baseline)}{size} {signed(difference['mean'])}{sure}: {told}</li>")
  return f"<ul>{''.join(items)}</ul>"


def budgets(results: Mapping) -> str:
  """The table from a budget to the arm that is best within it."""
  is_early = any(_is_early(arm, results["lab"]["gate"]) for arm in results["arms"].values())
  rows = ["<tr><th>you have</th><th>take</th><th>metric</th><th>how sure</th></tr>"]
  for axis, title in BUDGETS.items():
    front = pictures.front(results, axis)
    members = front["members"]
    rows.append(f"<tr class=group><th colspan=4>{title}{'' if members else ': not measured'}</th></tr>")
    for place, member in enumerate(members):
      if front["is_one_cost"]:
        room = f"all arms cost {quantity(member['cost'], axis)}"
      elif place + 1 < len(members):
        room = f"{quantity(member['cost'], axis)} to {quantity(members[place + 1]['cost'], axis)}"
      else:
        room = f"{quantity(member['cost'], axis)} or more"
      rows.append(
        f"<tr><td>{room}</td><td>{code(member['arm'])}</td><td>{value(member['mean'])}</td>"
        f"<td class=long>{_certainty(member['differences'], is_early)}</td></tr>"
      )
  return f"<div class=scroll><table class=budgets>{''.join(rows)}</table></div>"


def _certainty(differences: list, is_early: bool) -> str:
  """How sure it is that an arm is the best of those that cost no more."""
  if not differences:
    return "nothing cheaper was tried"
  if is_early:
    return "too early to tell"
  if any(rival["low"] is None for rival in differences):
    return "too few seeds to tell"
  if rivals := [rival for rival in differences if not is_certain(rival)]:
    told = ", ".join(f"{code(rival['arm'])} ({signed(rival['mean'])} {interval(rival)})" for rival in rivals)
    return f"<strong>not sure</strong>: {told} may do as well"
  nearest = differences[0]
  return f"sure: {signed(nearest['mean'])} {interval(nearest)} against {code(nearest['arm'])}, {nearest['n']} seeds"
