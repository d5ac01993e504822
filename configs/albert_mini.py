"""A small ALBERT on real text, for an hour or less of one CPU core: the run of docs/results/enwiki.md.

python train.py --config=configs/albert_mini.py --config.data.source=files:TEXT --config.data.tokenizer=VOCABULARY.model
"""

from configs import common


def get_config(arguments: str = ""):
  arguments = common.parse_arguments(arguments)
  config = common.pretraining("albert_mini")
  config.data.update(max_length=64, packing=2)
  config.model.update(vocab_size=30_000, embedding=128, width=256, layers=4, heads=4, ffn=1024)
  config.model.update(dropout=0.0, attention_dropout=0.0, layer_loop="unroll")
  config.train.update(steps=4500, batch_size=16)
  config.optimizer.update(name="adamw", learning_rate=1e-3, warmup_steps=300, beta2=0.98)
  config.eval.update(every=1500, batch_size=64)
  config.checkpoint.update(every=250, keep=2)
  return common.finish(config, arguments)
