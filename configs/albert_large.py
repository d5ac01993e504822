"""ALBERT-large, 17,847,474 parameters with its pretraining heads (arXiv 1909.11942).

python train.py --config=configs/albert_large.py             the paper's recipe, dropout as in the first release
python train.py --config=configs/albert_large.py:version=2   the second release
"""

from configs import common


def get_config(arguments: str = ""):
  return common.albert("large", arguments)
