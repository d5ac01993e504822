"""BERT-small, 29,058,876 parameters with its pretraining heads (arXiv 1908.08962).

python train.py --config=configs/bert_small.py                                              length 128
python train.py --config=configs/bert_small.py:phase=2 --config.init_from=runs/bert_small     length 512
"""

from configs import common


def get_config(arguments: str = ""):
  return common.bert("small", arguments)
