"""A task of GLUE with ALBERT's recipe for it (arXiv 1909.11942, table 14), from a trained model.

python train.py --config=configs/glue.py:sst2 --config.init_from=DIR --config.data.dir=GLUE
python eval.py --workdir=runs/glue_sst2 --predictions=submission
"""

from albert_jax.data.finetuning.glue import glue_task
from configs import common

# Rate, batch size, steps, warm-up steps, and the dropout inside the encoder.
RECIPES = {
  "cola": (1e-5, 16, 5336, 320, 0.0),
  "stsb": (2e-5, 16, 3598, 214, 0.0),
  "sst2": (1e-5, 32, 20_935, 1256, 0.0),
  "mnli": (3e-5, 128, 10_000, 1000, 0.0),
  "qnli": (1e-5, 32, 33_112, 1986, 0.0),
  "qqp": (5e-5, 128, 14_000, 1000, 0.1),
  "rte": (3e-5, 32, 800, 200, 0.1),
  "mrpc": (2e-5, 32, 800, 200, 0.0),
  "wnli": (2e-5, 16, 2000, 250, 0.1),
}


def get_config(arguments: str = ""):
  if arguments.partition(",")[0] not in ("", "test") and "=" not in arguments.partition(",")[0]:
    arguments = f"task={arguments}"
  arguments = common.parse_arguments(arguments, task="sst2")
  name = arguments.task.lower()
  task = glue_task(name)
  config = common.finetuning(f"glue_{name}", task="classify")
  config.data.source = f"glue:{name}"
  config.data.update(labels=task.labels, regression=not task.labels)
  config.data.max_length = 256  # the paper has 512; of RTE, whose texts are long, this cuts two pairs in a thousand
  config.data.metrics = task.metrics
  learning_rate, batch_size, steps, warmup_steps, dropout = RECIPES[name]
  config.train.update(steps=steps, batch_size=batch_size)
  config.optimizer.update(learning_rate=learning_rate, warmup_steps=warmup_steps)
  config.model.update(dropout=dropout, attention_dropout=dropout)
  config.eval.metric = task.metrics[0]
  if arguments.test:
    common.sample_run(config)
  return common.finish(config, arguments)
