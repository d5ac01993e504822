"""Which methods a model has: what each needs, and what to do where it is not there."""

import dataclasses
from collections.abc import Collection


@dataclasses.dataclass(frozen=True)
class Method:
  """A method of a loaded model.

  Attributes:
    head: the module that it needs; "" = only the encoder.
    choice: whether the head must have been trained for multiple choice.
    hint: what to do about a model without it.
  """

  head: str = ""
  choice: bool = False
  hint: str = ""

  def fits(self, heads: Collection[str], task: str) -> bool:
    """Whether a model with these heads, trained for a task, has the method."""
    return not self.head or (self.head in heads and self.choice == (task == "choice"))


METHODS = {
  "encode": Method(),
  "fill_mask": Method("mlm", hint="Load a model as pretraining leaves it; fine-tuning drops the masked-LM head."),
  "classify": Method(
    "classifier", hint="Train it: train.py --config=configs/text_classification.py --config.init_from={path}."
  ),
  "choose": Method("classifier", True, "Train it: train.py --config=configs/race.py --config.init_from={path}."),
  "answer": Method("span", hint="Train it: train.py --config=configs/squad.py --config.init_from={path}."),
}
