"""BERT-medium, 41,668,412 parameters with its pretraining heads (arXiv 1908.08962).

python train.py --config=configs/bert_medium.py                                              length 128
python train.py --config=configs/bert_medium.py:phase=2 --config.init_from=runs/bert_medium     length 512
"""

from configs import common


def get_config(arguments: str = ""):
  return common.bert("medium", arguments)
