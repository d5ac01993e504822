"""SQuAD 1.1 or 2.0 with ALBERT's recipe (arXiv 1909.11942, table 14), from a trained model.

python train.py --config=configs/squad.py:v1 --config.init_from=DIR --config.data.dir=SQUAD
python eval.py --workdir=runs/squad2 --predictions=submission
"""

from albert_jax.errors import InputError
from configs import common

# Rate, batch size, steps and warm-up steps.
RECIPES = {1: (5e-5, 48, 3649, 365), 2: (3e-5, 48, 8144, 814)}


def get_config(arguments: str = ""):
  arguments = common.parse_arguments(arguments, v1=False, v2=False)
  if arguments.v1 and arguments.v2:
    raise InputError("configs/squad.py takes v1, for SQuAD 1.1, or v2, for SQuAD 2.0, not both.")
  version = 2 if arguments.v2 else 1
  config = common.finetuning(f"squad{version}", task="span")
  config.data.source = "squad"
  config.data.version = version
  config.data.update(max_length=384, length_multiple=64)
  learning_rate, batch_size, steps, warmup_steps = RECIPES[version]
  config.train.update(steps=steps, batch_size=batch_size)
  config.optimizer.update(learning_rate=learning_rate, warmup_steps=warmup_steps)
  config.model.update(dropout=0.0, attention_dropout=0.0)
  config.eval.metric = "f1"
  if arguments.test:
    common.sample_run(config)
    config.data.update(tokenizer="train:wordpiece:120", max_length=40, length_multiple=40)
    config.data.update(stride=16, max_question=8, max_answer=12)
    config.train.steps = 300
    config.optimizer.schedule = "constant"  # it takes a while until the model reads the question
    config.eval.every = 100
  return common.finish(config, arguments)
