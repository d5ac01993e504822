"""What is one more pass through shared weights worth: φ of arXiv 2604.21106, of layers, of attention and of the FFN.

All arms have eight layers: two of their own, a block that is read r times, two of their own. Models without sharing of
several widths give the loss that a number of parameters buys.

python lab.py --lab=labs/loops.py
"""

from albert_jax.lab.spec import Lab
from labs import common


def get_lab(arguments: str = "") -> Lab:
  """The spec."""
  arguments = common.parse(arguments)
  base = common.base(arguments, layers=8)
  lab = Lab("loops", base)
  lab.question = "What is one more pass through shared weights worth?"
  own = {"model.sharing.attn": "none", "model.sharing.ffn": "none"}
  lab.arms = {"none": own, **common.narrower(base)}
  for reads, scheme in ((2, "loop:2-2-2"), (4, "loop:2-1-2")):
    lab.arms[f"loop{reads}"] = {"model.sharing.attn": scheme, "model.sharing.ffn": scheme}
    lab.arms[f"attn{reads}"] = {"model.sharing.attn": scheme, "model.sharing.ffn": "none"}
    lab.arms[f"ffn{reads}"] = {"model.sharing.attn": "none", "model.sharing.ffn": scheme}
  lab.baseline = "none"
  return common.finish(lab, arguments)
