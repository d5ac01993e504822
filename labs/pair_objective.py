"""What does a sentence-pair objective cost the masked-LM loss? From ALBERT's table 5 (arXiv 1909.11942).

python lab.py --lab=labs/pair_objective.py
"""

from albert_jax.lab.spec import Lab
from labs import common


def get_lab(arguments: str = "") -> Lab:
  """The spec."""
  arguments = common.parse(arguments)
  lab = Lab("pair_objective", common.base(arguments))
  lab.question = "What does sentence-order or next-sentence prediction cost the masked-LM loss?"
  lab.arms = {name: {"data.pair_objective": name} for name in ("none", "sop", "nsp")}
  lab.baseline = "none"
  lab.published = {"none": "54.9", "sop": "54.0", "nsp": "54.5"}
  lab.published["source"] = "ALBERT table 5: masked-LM accuracy (%)"
  return common.finish(lab, arguments)
