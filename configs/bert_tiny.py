"""BERT-tiny, 4,433,468 parameters with its pretraining heads (arXiv 1908.08962).

python train.py --config=configs/bert_tiny.py                                              length 128
python train.py --config=configs/bert_tiny.py:phase=2 --config.init_from=runs/bert_tiny     length 512
"""

from configs import common


def get_config(arguments: str = ""):
  return common.bert("tiny", arguments)
