"""Is a trained model of other sharing a better start than none? Untying and tying, at equal steps in all.

`untied` goes from all shared over two groups to none, a third of the steps each; `unshared` goes there at once. The
other way, a third of the steps without sharing is followed by two of sharing, by each rule of `init_rule`
(arXiv 2410.20672). Arms that end in "_stage" are only stages: they have fewer steps than the others.

python lab.py --lab=labs/surgery.py
"""

from albert_jax.lab.spec import Lab, Overrides
from labs import common


def get_lab(arguments: str = "") -> Lab:
  """The spec."""
  arguments = common.parse(arguments, rank=8)
  base = common.base(arguments)
  lab = Lab("surgery", base)
  lab.question = "Is a trained model of other sharing a better start than none, at equal steps in all?"

  def arm(scheme: str, thirds: int = 3, source: str = "", **more) -> Overrides:
    found = {"model.sharing.attn": scheme, "model.sharing.ffn": scheme, **more}
    if thirds < 3:
      found["train.steps"] = base.train.steps * thirds // 3
      found["optimizer.warmup_steps"] = base.optimizer.warmup_steps * thirds // 3
    return found | ({"init_from": f"arm:{source}"} if source else {})

  lab.arms = {
    "none": arm("none"),
    "untied": arm("none", 1, "sequence_stage"),
    "unshared": arm("none", 2, "all_stage"),
    "all": arm("all"),
    **{rule: arm("all", 2, "none_stage", init_rule=rule) for rule in ("average", "stepwise", "lower")},
    "svd": arm("all", 2, "none_stage", init_rule="svd", **{"model.depth.lora": arguments.rank}),
    "all_stage": arm("all", 1),
    "sequence_stage": arm("sequence:2", 1, "all_stage"),
    "none_stage": arm("none", 1),
  }
  lab.baseline = "none"
  lab.analyses = ("growth",)
  return common.finish(lab, arguments)
