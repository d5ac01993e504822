"""The tables of the page."""

import html
from collections.abc import Mapping

from albert_jax.lab.page import numbers
from albert_jax.lab.page.numbers import MISSING, code


def table(head: list[str], rows: list[list[str]]) -> str:
  """A table that scrolls within its box where the screen is narrow; cells are HTML."""
  titles = "".join(f"<th>{cell}</th>" for cell in head)
  body = "".join(f"<tr><th>{row[0]}</th>{''.join(f'<td>{cell}</td>' for cell in row[1:])}</tr>" for row in rows)
  return f"<div class=scroll><table><tr>{titles}</tr>{body}</table></div>"


def outcome(results: Mapping) -> str:
  """What came out for each arm, and how sure it is."""
  published = results["lab"]["published"]
  metric = html.escape(results["lab"]["metric"])
  delta = f"difference to {html.escape(results['lab']['baseline'])}"
  head = ["arm", metric, "n", delta, "95% interval", "verdict", "p (Holm)", *(["paper"] if published else [])]
  head += ["sd", "below unigram", "seeds needed"]
  rows = []
  for name, arm in results["arms"].items():
    mean, difference = arm["mean"], arm.get("difference") or dict.fromkeys(("mean", "low", "high", "sd"))
    row = [code(name), numbers.value(mean["mean"]), str(mean["n"]), numbers.signed(difference["mean"])]
    told = numbers.verdict(arm["verdict"], results["lab"]["lower_is_better"])
    row += [numbers.interval(difference), f"<span class=bad>{told}</span>" if arm["diverged"] else told]
    row += [
      numbers.p_value(arm.get("p_holm")),
      *([html.escape(str(published.get(name, MISSING)))] if published else []),
    ]
    row += [
      numbers.value(difference["sd"]),
      numbers.value(arm["below_unigram"]),
      numbers.count(arm.get("seeds_needed")),
    ]
    rows.append(row)
  return table(head, rows)


def cost(results: Mapping) -> str:
  """What each arm costs."""
  head = ["arm", "body", "total", "FLOPs/token", "steps", "tokens", "FLOPs", "match error", "memory", "step", "run"]
  rows = []
  for name, arm in results["arms"].items():
    of_arm, measured = arm["cost"], results["measured"]["arms"][name]
    row = [
      code(name),
      numbers.count(of_arm["body"]),
      numbers.count(of_arm["total"]),
      numbers.si(of_arm["flops_per_token"]),
    ]
    row += [numbers.count(of_arm["steps"]), numbers.si(of_arm["tokens"]), numbers.si(of_arm["flops"])]
    row += [numbers.percent(arm["match_error"]), numbers.si(of_arm["memory"], "B")]
    row += [numbers.seconds(measured["step_seconds"]), numbers.seconds(measured["run_seconds"])]
    rows.append(row)
  return table(head, rows)


def settings(results: Mapping) -> str:
  """What each arm changes in the base, and what was tuned."""
  rows = []
  for name, arm in results["arms"].items():
    changes = "<br>".join(code(f"{key}={value}") for key, value in arm["overrides"].items()) or MISSING
    rows.append([code(name), changes, _tuned(arm["tuning"]), _seeds(arm["seeds"])])
  return table(["arm", "changes", "tuned", "seeds"], rows)


def _tuned(tuning: Mapping) -> str:
  if not tuning:
    return "nothing"
  if tuning["best"] is None:
    return f"{tuning['missing']} runs of the tuning are missing"
  chosen = "<br>".join(code(f"{key}={value}") for key, value in tuning["best"].items())
  edges = ", ".join(code(key) for key in tuning["at_edge"])
  return chosen + (f"<br><strong class=bad>at the edge of the grid: {edges}</strong>" if edges else "")


def _seeds(seeds: Mapping) -> str:
  good = [seed for seed, status in seeds.items() if status == "finished"]
  bad = [f"{seed} {status}" for seed, status in seeds.items() if status != "finished"]
  text = ", ".join(good)
  return (
    text + (f"{'; ' if text else ''}<strong class=bad>{html.escape(', '.join(bad))}</strong>" if bad else "") or MISSING
  )


def metrics(results: Mapping) -> str:
  """The means of all metrics of the last evaluation; only the one that is compared is tested."""
  names = list(dict.fromkeys(name for arm in results["arms"].values() for name in arm["metrics"]))
  rows = [
    [code(name), *(numbers.value(arm["metrics"].get(metric)) for metric in names)]
    for name, arm in results["arms"].items()
  ]
  return table(["arm", *map(html.escape, names)], rows)


def phi(results: Mapping) -> str:
  """φ of the arms that share."""
  rows = []
  for name, arm in results["phi"]["arms"].items():
    shared = ", ".join(arm["shared"])
    row = [code(name), shared, numbers.signed(arm["mean"]), numbers.interval(arm), str(arm["n"]), str(arm["outside"])]
    rows.append(row)
  return table(["arm", "shared", "φ", "95% interval", "seeds", "seeds outside the references"], rows)


def agreement(results: Mapping) -> str:
  """How the gradients of layers that share weights agree."""
  rows = []
  for name, found in results["analyses"].items():
    for part in ("attn", "ffn"):
      if part in found.get("conflict", {}) and _is_shared(found["conflict"][part]["table"]):
        groups = found["conflict"][part]["agreement"]
        shares = found["conflict"][part]["share"]
        row = [code(name), part, ", ".join(numbers.si(group) for group in groups)]
        rows.append([*row, ", ".join(numbers.si(share) for share in shares)])
  return table(["arm", "part", "‖Σ g‖ / Σ ‖g‖ of each weight group", "share of each layer"], rows) if rows else ""


def growth(results: Mapping) -> str:
  """How large each matrix of the layers has become, and how far it has moved, by weight group."""
  rows = []
  for name, found in results["analyses"].items():
    for path, of_path in found.get("growth", {}).items():
      if path.startswith(("encoder/attn/", "encoder/ffn/")) and path.endswith("/kernel"):
        matrix = path.removeprefix("encoder/").removesuffix("/kernel")
        columns = (", ".join(numbers.si(value) for value in of_path[key]) for key in ("norm", "relative_change"))
        rows.append([code(name), matrix, *columns])
  header = ["arm", "matrix", "‖w‖ of each weight group", "‖w − start‖ / ‖start‖"]
  return table(header, rows) if rows else ""


def _is_shared(table: list[int]) -> bool:
  return len(set(table)) < len(table)
