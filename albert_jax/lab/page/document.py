"""The document: sections, style and commands."""

import html
from collections.abc import Mapping

from albert_jax.lab.page import pictures, tables
from albert_jax.lab.page.answer import answer, budgets
from albert_jax.lab.page.numbers import code

MATCHES = {
  "shape": "equal shape, tokens and FLOPs; parameters differ",
  "params": "equal parameters of the layers; FLOPs differ",
  "params_total": "equal parameters in all; FLOPs differ",
  "flops": "equal FLOPs of the training",
  "time": "equal time of stepping",
}
CSS = """
:root{color-scheme:light dark;--bg:#fff;--fg:#1c2126;--soft:#5c6670;--line:#d8dde2;--box:#f4f6f8;--warn:#a33a1d}
@media(prefers-color-scheme:dark){:root{--bg:#14181c;--fg:#e4e8ec;--soft:#98a3ad;--line:#333b43;--box:#1d2329;
--warn:#ff9b7a}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:1200px;padding:24px 20px 60px;background:var(--bg);color:var(--fg);
font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
h1{font-size:1.5rem;line-height:1.25;margin:.2em 0 .3em}h2{font-size:1.15rem;margin:2.2em 0 .5em}
p{max-width:90ch}.soft,figcaption{color:var(--soft);font-size:.9rem}
.answer{background:var(--box);border:1px solid var(--line);border-radius:8px;padding:12px 18px;margin:16px 0}
.lead{font-size:1.1rem}.warn,.bad{color:var(--warn)}
code{font:.92em ui-monospace,SFMono-Regular,Menlo,monospace;overflow-wrap:anywhere}
td code,th code{overflow-wrap:normal;white-space:nowrap}
pre{overflow-x:auto;background:var(--box);border:1px solid var(--line);border-radius:6px;padding:10px 14px}
pre code{overflow-wrap:normal}
.scroll{overflow-x:auto;border:1px solid var(--line);border-radius:6px;margin:10px 0}
table{border-collapse:collapse;width:100%;font-size:.87rem;font-variant-numeric:tabular-nums}
th,td{padding:6px 9px;text-align:left;vertical-align:top;border-bottom:1px solid var(--line);white-space:nowrap}
.long{white-space:normal;min-width:230px}.group th{font-weight:600;padding-top:14px}
.budgets td:first-child{padding-left:24px}
tr:last-child>*{border-bottom:0}tr:first-child>th{color:var(--soft);font-weight:600}th{font-weight:500}
.grid{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(330px,100%),1fr));gap:18px 26px;align-items:start}
.small{grid-template-columns:repeat(auto-fit,minmax(min(230px,100%),1fr))}
figure{margin:0}svg{width:100%;height:auto;display:block;color:var(--fg)}
""".strip()


def document(results: Mapping) -> str:
  """The page, from nothing but the record of the results."""
  lab = results["lab"]
  sections = [
    ("Which one to take", _which(results)),
    ("Outcome", tables.outcome(results) + _statistics_note(lab)),
    ("Cost and benefit", _pareto(results)),
    ("Over the training", _training(results)),
    ("What another pass is worth", _phi(results)),
    ("Inside the models", _analyses(results)),
    ("All metrics", tables.metrics(results)),
    ("Arms", tables.settings(results)),
    ("To repeat it", _commands(results)),
  ]
  body = "\n".join(f"<h2>{title}</h2>\n{content}" for title, content in sections if content)
  title = html.escape(f"{lab['name']}: {lab['question']}" if lab["question"] else lab["name"])
  return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<title>{title}</title>
<style>{CSS}</style></head><body>
<p class="soft">{html.escape(lab["name"])} · {MATCHES[lab["match"]]}</p>
<h1>{html.escape(lab["question"] or lab["name"])}</h1>
<div class="answer">
{answer(results)}
</div>
{body}
</body></html>
"""


def _which(results: Mapping) -> str:
  note = (
    "Each row holds up to the next larger budget. “Sure” means that no arm which costs as much or less "
    "may do as well: the 95% intervals of all paired differences to them leave out 0, not corrected for their number."
  )
  return budgets(results) + f"<p class=soft>{note}</p>"


def _statistics_note(lab: Mapping) -> str:
  return (
    f"<p class=soft>Metric: the mean of the last {lab['average']} evaluations. Differences are taken within each seed, "
    "whose runs saw the same batches; intervals are Student's t, p values are corrected by Holm over all arms. "
    f"“Equal within {lab['margin']:g}”: the whole interval lies inside ±{lab['margin']:g}, the difference that matters."
    f" “Seeds needed”: to find a true difference of that size in four of five labs.{_source(lab)}</p>"
  )


def _source(lab: Mapping) -> str:
  source = lab["published"].get("source")
  return f" “Paper”: {html.escape(source)}." if source else ""


def _figure(svg: str, caption: str) -> str:
  return f"<figure>{svg}<figcaption>{caption}</figcaption></figure>"


def _grid(figures: list[str], kind: str = "") -> str:
  return f"<div class='grid {kind}'>{''.join(figures)}</div>" if figures else ""


def _pareto(results: Mapping) -> str:
  figures, same = [], []
  for axis, name in pictures.AXES.items():
    front = pictures.front(results, axis)
    if front["is_one_cost"]:
      same.append(name)
    elif front["members"]:
      figures.append(
        _figure(pictures.pareto(results, axis), "Bars: 95% interval of the mean. Line: the best up to a cost.")
      )
  note = f"<p class=soft>The same for all arms: {', '.join(same)}.</p>" if same else ""
  return _grid(figures) + note + tables.cost(results)


def _training(results: Mapping) -> str:
  if not results["curves"]:
    return ""
  margin = f"±{results['lab']['margin']:g}"
  figures = [
    _figure(pictures.loss_curves(results), "Mean of the seeds, with their range."),
    _figure(pictures.difference_curves(results), f"Paired differences, with 95% intervals. Grey: {margin}."),
    _figure(pictures.strip(results), "Every seed. Lines join the runs of one seed."),
  ]
  for key in results["lab"]["tune"]:
    caption = "Tuning, on seeds that are not reported. Circles: chosen."
    figures.append(_figure(pictures.tuning_curves(results, key), caption))
  return _grid(figures)


def _phi(results: Mapping) -> str:
  if not results["phi"]:
    return ""
  note = (
    "<p class=soft>A model is as good as one without sharing of N = Σ nᵍ·rᵍ<sup>φ</sup> parameters, where nᵍ are read "
    "rᵍ times; the loss of models without sharing of several sizes gives N (arXiv 2604.21106, where φ is 0.46 for "
    "causal language models).</p>"
  )
  return note + tables.phi(results) + _grid([_figure(pictures.phi(results), "Points: seeds. Diamonds: mean.")])


def _analyses(results: Mapping) -> str:
  analyses = results["analyses"]
  names = {
    "mlm_loss": "masked-LM loss of the model's own head",
    "angle": "angle between input and output (°)",
    "distance": "distance between input and output",
    "effective_rank": "effective rank",
  }
  lines = [
    _figure(pictures.by_depth(results, name, label), f"{label[0].upper()}{label[1:]}, at every depth.")
    for name, label in names.items()
    if any(name in found.get("depth", {}) for found in analyses.values())
  ]
  squares = []
  for arm, found in analyses.items():
    if "cka" in found.get("depth", {}):
      title = f"{arm}: CKA of depths"
      squares.append(
        _figure(pictures.matrix(found["depth"]["cka"], title, first=0, low=0), "Similarity of the states.")
      )
    for part in ("attn", "ffn"):
      conflict = found.get("conflict", {}).get(part)
      if conflict and len(set(conflict["table"])) < len(conflict["table"]):
        title = f"{arm}: gradients, {part}"
        caption = "Cosines of the layers' gradients on shared weights."
        squares.append(_figure(pictures.matrix(conflict["cosine"], title, first=1, low=-1), caption))
  return _grid(lines) + _grid(squares, "small") + tables.agreement(results) + tables.growth(results)


def _commands(results: Mapping) -> str:
  environment = results["measured"]["environment"]
  facts = [f"{key}: {', '.join(map(code, values))}" for key, values in environment.items() if values]
  facts += [f"data: {', '.join(map(code, results['data']))}"] if results["data"] else []
  lab = results["lab"]
  folders = sorted(run["folder"] for run in results["runs"] if run["arm"] == lab["baseline"] and not run["tuning"])
  lines = [f"python lab.py {html.escape(' '.join(results['arguments']))}"]
  lines += [f"python eval.py --workdir=LAB/{html.escape(folder)}" for folder in folders[:1]]
  ended = f"{len(results['runs'])} runs have ended. Each is an ordinary workdir, which train.py and eval.py take:"
  return f"<p class=soft>{' · '.join(facts)} </p><p>{ended}</p><pre><code>{'<br>'.join(lines)}</code></pre>"
