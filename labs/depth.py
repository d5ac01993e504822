"""What do more passes through one shared layer buy? ALBERT's table 11 (arXiv 1909.11942) at proxy scale.

python lab.py --lab=labs/depth.py
"""

from albert_jax.lab.spec import Lab
from labs import common


def get_lab(arguments: str = "") -> Lab:
  """The spec."""
  arguments = common.parse(arguments)
  lab = Lab("depth", common.base(arguments, layers=3))
  lab.question = "What do more passes through one shared layer buy?"
  lab.arms = {f"L{layers}": {"model.layers": layers} for layers in (1, 3, 6, 12)}
  lab.baseline = "L3"
  lab.published = {"L1": "52.9", "L3": "71.2", "L6": "77.2", "L12": "81.5"}
  lab.published["source"] = "ALBERT table 11, large: mean of five tasks (%)"
  lab.analyses = ("depth", "conflict")
  return common.finish(lab, arguments)
