"""Which part may be shared? ALBERT's table 4 (arXiv 1909.11942) at proxy scale, with a tuned rate for each arm.

Narrower models without sharing stand beside: fewer parameters, and fewer FLOPs. They give φ (labs/loops.py).

python lab.py --lab=labs/sharing_table.py
"""

from albert_jax.lab.spec import Lab
from labs import common


def get_lab(arguments: str = "") -> Lab:
  """The spec."""
  arguments = common.parse(arguments)
  base = common.base(arguments)
  lab = Lab("sharing_table", base)
  lab.question = "What does it cost to share attention, feed-forward part, or both, across all layers?"
  lab.arms = {
    name: {"model.sharing.attn": attn, "model.sharing.ffn": ffn}
    for name, attn, ffn in (
      ("all", "all", "all"),
      ("attn", "all", "none"),
      ("ffn", "none", "all"),
      ("none", "none", "none"),
    )
  }
  lab.arms |= common.narrower(base)
  lab.baseline = "none"
  lab.published = {"all": "80.1", "attn": "81.7", "ffn": "80.2", "none": "81.6"}
  lab.published["source"] = "ALBERT table 4, base, E = 128: mean of five tasks (%)"
  lab.analyses = ("depth", "conflict")
  return common.finish(lab, arguments)
