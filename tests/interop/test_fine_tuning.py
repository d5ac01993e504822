"""A fine-tune takes the same steps as one in PyTorch: from the same weights, on the same batches, without dropout."""

from collections.abc import Mapping

import numpy as np
import pytest
import torch

from albert_jax.interop.pretrained import open_pretrained
from albert_jax.tasks import make_task, resolve
from albert_jax.training.loop import new_state
from albert_jax.training.program import make_program
from albert_jax.training.sharding import to_devices
from configs import glue
from tests.builders import override
from tests.interop.conftest import make_torch

INHERITED = {"attn": "", "ffn": ""}
STEPS, WARMUP, RATE, DECAY, CLIP = 6, 2, 1e-2, 0.1, 0.5


@pytest.fixture
def theirs():
  """A classifier of the sample's two classes."""
  names = {0: "0", 1: "1"}
  return make_torch("BertForSequenceClassification", vocab_size=120, max_position_embeddings=32, id2label=names)


def make_program_and_state(folder: str, cache_dir: str, sharing: Mapping[str, str] = INHERITED):
  values = {"init_from": folder, "data.cache_dir": cache_dir, "model.dropout": 0.0, "model.attention_dropout": 0.0}
  values |= {"model.classifier_dropout": 0.0, "train.steps": STEPS, "train.batch_size": 8}
  values |= {"optimizer.warmup_steps": WARMUP, "optimizer.learning_rate": RATE, "optimizer.weight_decay": DECAY}
  values |= {"optimizer.bias_correction": True, "optimizer.clip_norm": CLIP}
  config = override(glue.get_config("sst2,test"), values)
  config.model.update(dict.fromkeys(("vocab_size", "embedding", "width", "layers", "heads", "ffn", "positions"), 0))
  config.model.update(token_types=0, activation="", sharing=sharing)
  start = resolve(config, open_pretrained(folder))
  program = make_program(config, make_task(config))
  return program, new_state(program, start, print)


def make_optimizer(model: torch.nn.Module):
  """AdamW with decay off biases and LayerNorms, and linear warm-up and decay."""
  groups = {True: [], False: []}
  for name, parameter in model.named_parameters():
    groups[name.endswith("bias") or "LayerNorm" in name].append(parameter)
  optimizer = torch.optim.AdamW(
    [{"params": groups[True], "weight_decay": 0.0}, {"params": groups[False], "weight_decay": DECAY}], RATE, eps=1e-6
  )
  schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: n / WARMUP if n < WARMUP else 1 - n / STEPS)
  return optimizer, schedule


def step_of_theirs(model, optimizer, schedule, batch) -> tuple[float, float]:
  """Takes a step; returns the loss and the norm of the gradient."""
  names = {
    "input_ids": "tokens",
    "token_type_ids": "token_type_ids",
    "attention_mask": "example_ids",
    "labels": "labels",
  }
  loss = model(**{there: torch.tensor(np.array(batch[here]), dtype=torch.long) for there, here in names.items()}).loss
  optimizer.zero_grad()
  loss.backward()
  norm = torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
  optimizer.step()
  schedule.step()
  return loss.item(), norm.item()


def test_steps_are_those_of_pytorch(theirs, save, tmp_path):
  program, state = make_program_and_state(save(theirs), str(tmp_path / "cache"))
  rows = program.task.load_data().train
  optimizer, schedule = make_optimizer(theirs)
  ours, expected = [], []
  for number in range(STEPS):
    batch = rows.batch(number, 8)
    state, terms = program.train_step(state, to_devices(batch, program.batch_sharding, 8), program.hyper)
    total, weight = terms["loss"]
    norm, one = terms["grad_norm"]
    ours.append((float(total / weight), float(norm / one)))
    expected.append(step_of_theirs(theirs, optimizer, schedule, batch))
  assert min(norm for _, norm in expected) > CLIP  # so that clipping is compared, too
  np.testing.assert_allclose(ours, expected, rtol=1e-3)
  assert abs(expected[-1][0] - expected[0][0]) > 0.05


def test_an_albert_starts_unshared(save, tmp_path):
  """Of a Hugging Face folder, too, every layer can have a copy of its own; the model computes what it did."""
  folder = save(make_torch("AlbertForSequenceClassification", vocab_size=120, max_position_embeddings=32))
  losses = []
  for name, sharing in (("as it is", INHERITED), ("apart", {"attn": "none", "ffn": "none"})):
    program, state = make_program_and_state(folder, str(tmp_path / "cache"), sharing)
    groups = state.params["encoder"]["attn"]["query"]["kernel"].shape[0]
    assert groups == (4 if name == "apart" else 1)
    terms, _ = program.eval_step(state.params, program.task.load_data().train.batch(0, 8))
    losses.append(float(terms["loss"][0]))
  assert losses[0] == pytest.approx(losses[1], rel=1e-6)
