"""A bidirectional LSTM with as many parameters as BERT-mini in its layers, 3.2 M, and trained as it is.

python train.py --config=configs/lstm_mini.py
"""

from configs import common


def get_config(arguments: str = ""):
  return common.recurrent("lstm", 512, arguments)
