"""BERT-base, 110,106,428 parameters with its pretraining heads (arXiv 1810.04805).

python train.py --config=configs/bert_base.py                                              length 128
python train.py --config=configs/bert_base.py:phase=2 --config.init_from=runs/bert_base     length 512
"""

from configs import common


def get_config(arguments: str = ""):
  return common.bert("base", arguments)
