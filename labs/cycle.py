"""In which order should layers read a few weight groups? The strategies of arXiv 2104.06022.

python lab.py --lab=labs/cycle.py
"""

from albert_jax.lab.spec import Lab
from labs import common


def get_lab(arguments: str = "") -> Lab:
  """The spec."""
  arguments = common.parse(arguments, groups=3)
  lab = Lab("cycle", common.base(arguments, layers=2 * arguments.groups))
  lab.question = f"In which order should {2 * arguments.groups} layers read {arguments.groups} weight groups?"
  schemes = {name: f"{name}:{arguments.groups}" for name in ("sequence", "cycle", "cycle_rev")} | {"none": "none"}
  lab.arms = {name: {"model.sharing.attn": scheme, "model.sharing.ffn": scheme} for name, scheme in schemes.items()}
  lab.baseline = "sequence"
  lab.published = {"sequence": "27.13", "cycle": "27.04", "cycle_rev": "27.08"}
  lab.published["source"] = "arXiv 2104.06022: translation with 12 layers of 6 groups, BLEU"
  return common.finish(lab, arguments)
