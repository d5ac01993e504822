"""BERT-mini, 11,267,900 parameters with its pretraining heads (arXiv 1908.08962).

python train.py --config=configs/bert_mini.py                                              length 128
python train.py --config=configs/bert_mini.py:phase=2 --config.init_from=runs/bert_mini     length 512
"""

from configs import common


def get_config(arguments: str = ""):
  return common.bert("mini", arguments)
