"""BERT-large, 336,226,108 parameters with its pretraining heads (arXiv 1810.04805).

python train.py --config=configs/bert_large.py                                              length 128
python train.py --config=configs/bert_large.py:phase=2 --config.init_from=runs/bert_large     length 512
"""

from configs import common


def get_config(arguments: str = ""):
  return common.bert("large", arguments)
