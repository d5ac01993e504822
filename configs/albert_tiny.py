"""The embedded default: a small ALBERT on documentation that is installed with Python. No download, no account.

python train.py --config=configs/albert_tiny.py
"""

from configs import common


def get_config(arguments: str = ""):
  arguments = common.parse_arguments(arguments)
  config = common.pretraining("albert_tiny")
  config.data.update(source="pydoc", tokenizer="train:sentencepiece:2048", max_length=64, valid_fraction=0.02)
  config.model.update(vocab_size=2048, embedding=64, width=128, layers=4, heads=4, ffn=512)
  config.model.update(dropout=0.0, attention_dropout=0.0)
  config.train.update(steps=600, batch_size=64, log_every=50)
  config.optimizer.update(name="adamw", learning_rate=2e-3, warmup_steps=50)
  config.eval.update(every=300, batch_size=256)
  config.checkpoint.update(every=200, keep=2)
  return common.finish(config, arguments)
