"""ALBERT-base, 11,813,810 parameters with its pretraining heads (arXiv 1909.11942).

python train.py --config=configs/albert_base.py             the paper's recipe, dropout as in the first release
python train.py --config=configs/albert_base.py:version=2   the second release
"""

from configs import common


def get_config(arguments: str = ""):
  return common.albert("base", arguments)
