"""Which rank must low-rank additions of each layer have to win back what sharing costs (arXiv 2410.20672)?

python lab.py --lab=labs/lora_rank.py
"""

from albert_jax.lab.spec import Lab
from labs import common


def get_lab(arguments: str = "") -> Lab:
  """The spec."""
  arguments = common.parse(arguments)
  lab = Lab("lora_rank", common.base(arguments))
  lab.question = "Which rank must each layer's low-rank additions have to win back what sharing costs?"
  lab.arms = {"all": {}} | {f"rank{rank}": {"model.depth.lora": rank} for rank in (1, 4, 16)}
  lab.arms["none"] = {"model.sharing.attn": "none", "model.sharing.ffn": "none"}
  lab.baseline = "all"
  return common.finish(lab, arguments)
