"""RACE with ALBERT's recipe (arXiv 1909.11942, table 14), from a trained model: questions with four answers each.

python train.py --config=configs/race.py --config.init_from=DIR --config.data.dir=RACE
"""

from configs import common


def get_config(arguments: str = ""):
  arguments = common.parse_arguments(arguments)
  config = common.finetuning("race", task="choice")
  config.data.source = "race"
  config.data.update(labels=("A", "B", "C", "D"), max_length=512)
  config.data.length_multiple = 64  # articles vary widely in length, and each length is compiled for
  config.data.metrics = ("accuracy",)
  config.train.update(steps=12_000, batch_size=32)
  config.optimizer.update(learning_rate=2e-5, warmup_steps=1000)
  config.model.update(dropout=0.1, attention_dropout=0.1)
  config.eval.metric = "accuracy"
  if arguments.test:
    common.sample_run(config)
  return common.finish(config, arguments)
