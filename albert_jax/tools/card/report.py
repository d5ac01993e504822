"""The result of a session on a card, for people."""

from typing import Any

MIB = 2**20


def report(session: dict[str, Any]) -> str:
  """Tables in Markdown; a part that failed says why, and one that did not run is not there."""
  parts = session["parts"]
  speeds = {name: part for name, part in parts.items() if "ours" in part}
  lines = [
    f"{session['date']}, {_device(speeds)}; {session['machine']['processor']}, {session['machine']['cores']} cores"
    + ("; a rehearsal with tiny models: its speeds mean nothing" if session["small"] else ""),
    "",
    "| | rows × length | real tokens/s | step p50, ms | p95 | MFU | memory, MiB | compile, s | ÷ peer |",
    "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    *(_row(name, part) for name, part in speeds.items()),
    "",
  ]
  for name, part in parts.items():
    if name not in speeds:
      lines.append(f"- {name}: {_say(part)} ({part['seconds']:.0f} s)")
  lines.append("- The peer is transformers by torch.compile, with SDPA and fused AdamW, on the same batches.")
  return "\n".join(lines)


def _device(speeds: dict[str, Any]) -> str:
  first = next(iter(speeds.values()), None)
  if first is None:
    return "no speed measured"
  versions = {name: version for part in speeds.values() for name, version in part["ours"]["versions"].items()}
  versions |= {n: v for part in speeds.values() for n, v in part.get("peer", {}).get("versions", {}).items()}
  return f"{first['ours']['device']}, " + ", ".join(f"{name} {version}" for name, version in versions.items())


def _row(name: str, part: dict[str, Any]) -> str:
  ours = part["ours"]
  mfu = "–" if ours["mfu"] is None else f"{ours['mfu']:.1%}"
  ratio = f"{part['ratio']:.2f}" if "ratio" in part else "failed" if "peer_error" in part else "–"
  p50, p95 = (f"{1e3 * ours[key]:.1f}" for key in ("p50_seconds", "p95_seconds"))
  memory = ", ".join(f"{kind} {size / MIB:,.0f}" for kind, size in ours["memory"].items())
  return (
    f"| {name} | {part['rows']} × {part['length']} | {ours['tokens_per_second']:,.0f} | {p50} | {p95} | {mfu} "
    f"| {memory} | {ours['compile_seconds']:.0f} | {ratio} |"
  )


def _say(part: dict[str, Any]) -> str:
  if "error" in part:
    return f"**failed**: {part['error'].splitlines()[-1] if part['error'] else 'it ended without a word'}"
  if "different" in part:
    different = part["different"]
    return f"{part['arrays']} arrays, " + (
      f"**{len(different)} differ**: {different[:3]}" if different else "bit-equal"
    )
  if "gradient_cosine" in part:
    return f"loss within {part['loss_difference']:.1e}, gradient cosine {part['gradient_cosine']:.7f}"
  return ", ".join(f"{key} {value}" for key, value in part.items() if key != "seconds")
