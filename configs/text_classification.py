"""Classes or scores of one's own texts, from .tsv, .csv or .jsonl files with a header.

python train.py --config=configs/text_classification.py --config.init_from=DIR --config.data.train=reviews.csv \
  --config.data.text=review --config.data.label=stars
"""

from configs import common


def get_config(arguments: str = ""):
  arguments = common.parse_arguments(arguments, regression=False)
  config = common.finetuning("text_classification", task="classify")
  config.data.source = "text_files"
  config.data.regression = arguments.regression
  config.data.metrics = ("pearson", "spearman") if arguments.regression else ("accuracy", "f1_macro")
  config.eval.metric = config.data.metrics[0]
  if arguments.test:
    common.sample_run(config)
    config.data.update(train="train.tsv", valid="dev.tsv", test="test.tsv")
    config.data.label = "score" if arguments.regression else "label"
  return common.finish(config, arguments)
