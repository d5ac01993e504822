"""The pictures of the page: each draws one question from the record of the results, and returns <svg> elements."""

import math
from collections.abc import Mapping, Sequence

from albert_jax.plots import style

AXES = {
  "params": "parameters of the layers",
  "flops": "training FLOPs",
  "memory": "bytes a step needs",
  "time": "seconds of stepping",
}
NAMES = {"mlm_loss": "masked-LM loss (nats)", "mlm_accuracy": "masked-LM accuracy", "pair_accuracy": "pair accuracy"}
BASELINE_STYLE = dict(color="0.5", linestyle="--", linewidth=1)


def metric_name(metric: str) -> str:
  """A metric in words."""
  split, name = metric.split("/", 1)
  return f"{split} {NAMES.get(name, name.replace('_', ' '))}"


def colours(results: Mapping) -> dict[str, str]:
  """The colour of each arm, the same all over the page."""
  return {name: style.colour(number) for number, name in enumerate(results["arms"])}


def costs(results: Mapping, axis: str) -> dict[str, float]:
  """What each arm costs on an axis, where it is known."""
  if axis == "time":
    found = {name: of_arm["stepping_seconds"] for name, of_arm in results["measured"]["arms"].items()}
  else:
    key = {"params": "body"}.get(axis, axis)
    found = {name: arm["cost"][key] for name, arm in results["arms"].items()}
  return {name: cost for name, cost in found.items() if cost is not None}


def front(results: Mapping, axis: str) -> Mapping:
  """The Pareto front of an axis."""
  return results["measured"]["front"]["time"] if axis == "time" else results["fronts"][axis]


def pareto(results: Mapping, axis: str) -> str:
  """The metric over a cost, with the intervals of the means and the front."""
  from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator, NullLocator, StrMethodFormatter

  figure = style.new_figure()
  axes = figure.subplots()
  by_cost, colour_of = costs(results, axis), colours(results)
  known = {name: cost for name, cost in by_cost.items() if results["arms"][name]["mean"]["mean"] is not None}
  for name, cost in known.items():
    mean = results["arms"][name]["mean"]
    low, high = mean["low"], mean["high"]
    if low is not None:
      axes.plot([cost, cost], [low, high], color=colour_of[name], linewidth=1.4, alpha=0.6)
    axes.plot([cost], [mean["mean"]], "o", color=colour_of[name], markersize=6)
    axes.annotate(name, (cost, mean["mean"]), xytext=(6, 5), textcoords="offset points", fontsize="small")
  members = [member for member in front(results, axis)["members"] if member["arm"] in known]
  if len(members) > 1:
    points = [(member["cost"], member["mean"]) for member in members]
    axes.step(*zip(*points), where="post", color=style.FOREGROUND, alpha=0.45, linewidth=1, zorder=0)
  if known and max(known.values()) > 3 * min(known.values()):
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_minor_locator(NullLocator())
  else:
    axes.xaxis.set_major_locator(MaxNLocator(5))
  axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}") if axis == "time" else EngFormatter(sep=""))
  axes.margins(x=0.18, y=0.12)
  style.finish(axes, xlabel=AXES[axis], ylabel=metric_name(results["lab"]["metric"]), legend=False)
  return style.svg(figure, f"{metric_name(results['lab']['metric'])} over {AXES[axis]}")


def loss_curves(results: Mapping) -> str:
  """The mean of each arm over the training, with the range of its seeds."""
  figure = style.new_figure()
  axes = figure.subplots()
  for name, curve in results["curves"].items():
    band = (curve["steps"], curve["mean"], curve["low"], curve["high"])
    if None not in curve["mean"]:
      style.band(axes, *band, colour=colours(results)[name], label=name)
  name = f"{results['lab']['metric'].split('/')[0]}/unigram_loss"
  levels = [arm["metrics"][name] for arm in results["arms"].values() if name in arm["metrics"]]
  if levels:
    axes.axhline(sum(levels) / len(levels), label="unigram", **BASELINE_STYLE)
  style.finish(axes, xlabel="step", ylabel=metric_name(results["lab"]["metric"]))
  return style.svg(figure, "curves of the arms")


def difference_curves(results: Mapping) -> str:
  """The paired difference to the baseline over the training, with its interval."""
  figure = style.new_figure()
  axes = figure.subplots()
  margin, shown = results["lab"]["margin"], []
  for name, curve in results["curves"].items():
    difference = curve.get("difference", {"mean": []})
    if difference["mean"] and None not in difference["mean"]:
      percent = [100 * fraction for fraction in difference["fraction"]]
      band = (percent, difference["mean"], difference["low"], difference["high"])
      style.band(axes, *band, colour=colours(results)[name], label=name)
      shown += difference["mean"]
  axes.axhline(0, **BASELINE_STYLE)
  axes.axhspan(-margin, margin, color=style.FOREGROUND, alpha=0.08, linewidth=0)
  if shown:  # wide intervals of few seeds would hide the curves
    reach = max(3 * margin, 2.2 * max(map(abs, shown)))
    axes.set_ylim(-reach, reach)
  style.finish(axes, xlabel="% of the training", ylabel=f"difference to {results['lab']['baseline']}")
  return style.svg(figure, "paired differences to the baseline")


def tuning_curves(results: Mapping, key: str) -> str:
  """The metric of the tuning runs over a tuned value; the best of the other keys."""
  figure = style.new_figure()
  axes = figure.subplots()
  better = min if results["lab"]["lower_is_better"] else max
  for name, arm in results["arms"].items():
    best: dict = {}
    for item in arm["tuning"].get("scores", []):
      if item["score"] is not None:
        value = item["point"][key]
        best[value] = better(best.get(value, item["score"]), item["score"])
    if best:
      points = sorted(best.items())
      axes.plot(*zip(*points), "o-", color=colours(results)[name], label=name, linewidth=1.4, markersize=4)
      chosen = (arm["tuning"]["best"] or {}).get(key)
      if chosen in best:
        axes.plot([chosen], [best[chosen]], "o", markersize=9, fillstyle="none", color=colours(results)[name])
  values = [value for arm in results["arms"].values() for value in arm["tuning"].get("grid", {}).get(key, [])]
  if values and all(isinstance(value, int | float) for value in values):
    axes.set_xscale("log")
    ticks = sorted(set(values))
    axes.set_xticks(ticks, [f"{value:g}" for value in ticks])
    axes.set_xticks([], minor=True)
  style.finish(axes, xlabel=key, ylabel=metric_name(results["lab"]["metric"]))
  return style.svg(figure, f"tuning of {key}")


def strip(results: Mapping) -> str:
  """Every seed of every arm; a line joins the runs of one seed, which saw the same batches."""
  figure = style.new_figure()
  axes = figure.subplots()
  names = list(results["arms"])
  for seed in sorted({seed for arm in results["arms"].values() for seed in arm["values"]}, key=int):
    points = [(place, results["arms"][name]["values"].get(seed)) for place, name in enumerate(names)]
    points = [point for point in points if point[1] is not None]
    if points:
      axes.plot(*zip(*points), color=style.FOREGROUND, alpha=0.25, linewidth=0.8, zorder=1)
  for place, name in enumerate(names):
    values = [value for value in results["arms"][name]["values"].values() if value is not None]
    axes.plot([place] * len(values), values, "o", color=colours(results)[name], markersize=5, alpha=0.85)
  is_long = max(map(len, names)) * len(names) > 40
  axes.set_xticks(range(len(names)), names, rotation=35 if is_long else 0, ha="right" if is_long else "center")
  axes.margins(x=0.15)
  style.finish(axes, xlabel="", ylabel=metric_name(results["lab"]["metric"]), legend=False)
  return style.svg(figure, "all seeds")


def phi(results: Mapping) -> str:
  """φ of each arm that shares, with the interval over the seeds."""
  figure = style.new_figure()
  axes = figure.subplots()
  arms = {name: arm for name, arm in results["phi"]["arms"].items() if arm["mean"] is not None}
  for place, (name, arm) in enumerate(arms.items()):
    colour = colours(results)[name]
    if arm["low"] is not None:
      axes.plot([arm["low"], arm["high"]], [place, place], color=colour, linewidth=1.4)
    axes.plot(arm["per_seed"], [place] * len(arm["per_seed"]), "o", color=colour, markersize=4, alpha=0.5)
    axes.plot([arm["mean"]], [place], "D", color=colour, markersize=6)
  axes.set_yticks(range(len(arms)), list(arms))
  axes.axvline(0, **BASELINE_STYLE)
  axes.axvline(1, **BASELINE_STYLE)
  axes.margins(y=0.2)
  style.finish(axes, xlabel="φ: 0 = another pass is worth nothing, 1 = as much as new weights", ylabel="", legend=False)
  return style.svg(figure, "worth of another pass")


def by_depth(results: Mapping, name: str, ylabel: str) -> str:
  """What an analysis found at each depth of each arm."""
  figure = style.new_figure()
  axes = figure.subplots()
  for arm, found in results["analyses"].items():
    values = found.get("depth", {}).get(name)
    if values:
      depths = range(len(values)) if name not in ("angle", "distance") else range(1, len(values) + 1)
      numbers = [math.nan if value is None else value for value in values]
      axes.plot(depths, numbers, "o-", color=colours(results)[arm], label=arm, linewidth=1.4, markersize=4)
  axes.xaxis.get_major_locator().set_params(integer=True)
  style.finish(axes, xlabel="depth (0: embeddings)", ylabel=ylabel)
  return style.svg(figure, f"{ylabel} by depth")


def matrix(values: Sequence[Sequence[float | None]], title: str, *, first: int, low: float) -> str:
  """A square matrix of similarities between depths; where there is none, nothing is drawn."""
  figure = style.new_figure(2.9, 2.6)
  axes = figure.subplots()
  numbers = [[math.nan if value is None else value for value in row] for row in values]
  edges = [first - 0.5 + place for place in range(len(values) + 1)]
  colour_map = "viridis" if low >= 0 else "RdBu"
  mesh = axes.pcolormesh(edges, edges, numbers, vmin=low, vmax=1, cmap=colour_map, linewidth=0, edgecolors="face")
  figure.colorbar(mesh, ax=axes, shrink=0.85)
  axes.invert_yaxis()
  axes.set_aspect("equal")
  axes.set_title(title, fontsize="medium")
  for axis in (axes.xaxis, axes.yaxis):
    axis.get_major_locator().set_params(integer=True)
  axes.spines[:].set_visible(False)
  return style.svg(figure, title)
