"""How much of what sharing costs do LayerNorms and biases of each layer's own win back? They add 1% of parameters.

python lab.py --lab=labs/norm_bias.py
"""

from albert_jax.lab.spec import Lab
from labs import common


def get_lab(arguments: str = "") -> Lab:
  """The spec."""
  arguments = common.parse(arguments)
  lab = Lab("norm_bias", common.base(arguments))
  lab.question = "How much of what sharing costs do own LayerNorms and biases of each layer win back?"
  lab.arms = {
    "all": {},
    "norm": {"model.sharing.norm": "none"},
    "bias": {"model.sharing.bias": "none"},
    "norm_bias": {"model.sharing.norm": "none", "model.sharing.bias": "none"},
    "none": {"model.sharing.attn": "none", "model.sharing.ffn": "none"},
  }
  lab.baseline = "all"
  lab.analyses = ("depth", "conflict")
  return common.finish(lab, arguments)
