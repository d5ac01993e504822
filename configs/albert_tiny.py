"""The embedded default: a small ALBERT on documentation that is installed with Python. No download, no account.

python train.py --config=configs/albert_tiny.py
"""

from configs import common


def get_config(arguments: str = ""):
  arguments = common.parse_arguments(arguments)
  config = common.pretraining("albert_tiny")
  config.data.update(source="pydoc", tokenizer="train:sentencepiece:2048", max_length=32, valid_fraction=0.02)
  config.data.packing = 2
  config.data.update(max_ngram=1, whole_word=False)  # as in the first BERT: learnt sooner than runs of whole words
  config.model.update(vocab_size=2048, embedding=64, width=128, layers=2, heads=4, ffn=512)
  config.model.update(dropout=0.0, attention_dropout=0.0, layer_loop="unroll")
  config.train.update(steps=3500, batch_size=32)
  config.optimizer.update(name="adamw", learning_rate=2e-3, warmup_steps=200, beta2=0.98)
  config.eval.update(every=1000, batch_size=256)
  config.checkpoint.update(every=500, keep=2)
  return common.finish(config, arguments)
