"""The peers: transformers' BERT and ALBERT in PyTorch, trained with its own loss, or by hand as fast as it goes."""

import itertools
import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from albert_jax.errors import InputError
from albert_jax.runtime.memory import reuse_memory
from albert_jax.tools.benchmarking import files, timing
from albert_jax.tools.benchmarking.files import Batch
from albert_jax.tools.benchmarking.job import PEERS, Job, Peer

try:
  import torch
  import transformers
  from torch.nn import functional
except ImportError as error:
  raise InputError("Peers need torch and transformers: pip install -e '.[test]', or give no --peers.") from error

IGNORED = -100  # a label that counts in no loss

Inputs = dict[str, torch.Tensor]
Loss = Callable[[Inputs], torch.Tensor]


def gate(job: Job) -> dict[str, Any]:
  """Writes the gradient of the first batch: float32, no dropout, nothing compiled."""
  torch.set_float32_matmul_precision("highest")
  device, peer = _device(), PEERS[job.contender]
  model = load_model(job, device).eval()
  batch = files.load_batches(job.path / (files.BATCHES if peer.packed else files.GATE_BATCH))[0]
  loss = make_loss(model, tuned=peer.tuned)(make_inputs(batch, tuned=peer.tuned, device=device))
  loss.backward()
  tensors = model.state_dict(keep_vars=True)
  names = files.tensor_names(job.path / files.MODEL_FOLDER)
  files.save_gradient(job.gradient_file, loss.item(), {name: tensors[name].grad.cpu().numpy() for name in names})
  return {}


def measure(job: Job) -> dict[str, Any]:
  """Times training steps."""
  peer, device = PEERS[job.contender], _device()
  torch.set_num_threads(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else torch.get_num_threads())
  torch.set_float32_matmul_precision("high")  # the GPU's fast float32, where float32 is asked for
  torch.manual_seed(job.config.seed)
  if device.type == "cpu":
    reuse_memory()  # as for ours
  dtype = torch.bfloat16 if _is_bfloat16(job, device) else torch.float32
  made = files.load_batches(job.path / (files.BATCHES if peer.packed else files.PEER_BATCHES))
  inputs = [make_inputs(batch, tuned=peer.tuned, pin=device.type == "cuda") for batch in made]
  step = make_step(load_model(job, device).train(), job, peer, device, dtype)
  return {
    **_time_steps(job, step, inputs, device),
    "tokens": files.timed_tokens(made, job.warmup, job.steps),
    "positions": made[0]["tokens"].size,
    "gemm_flops": timing.gemm_ceiling(_gemm(device, dtype), device.type),
    "memory": _memory(device),
    "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
    "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
  }


ACTIONS = {"gate": gate, "time": measure}


def load_model(job: Job, device: torch.device) -> torch.nn.Module:
  """The model with our weights; every tensor is taken, and none is missing.

  Raises:
    InputError: transformers reads the weights otherwise.
  """
  has_pair = job.config.data.pair_objective != "none"
  kind = transformers.AutoModelForPreTraining if has_pair else transformers.AutoModelForMaskedLM
  folder = str(job.path / files.MODEL_FOLDER)
  model, found = kind.from_pretrained(folder, attn_implementation="sdpa", output_loading_info=True)
  if wrong := {*found["missing_keys"], *found["unexpected_keys"]}:
    raise InputError(f"transformers {transformers.__version__} misses or does not expect {', '.join(sorted(wrong))}.")
  return model.to(device)


def make_inputs(batch: Batch, *, tuned: bool, device: torch.device | None = None, pin: bool = False) -> Inputs:
  """What a loss takes, in host memory (pinned, if asked for) or on a device; a row without padding needs no mask.

  Args:
    batch: one example a row, or, for a tuned loss, ours as it is: `examples` says where each of a row's examples is.
    tuned: for the head at the predicted positions only.
    device: where to put it, if not in host memory.
    pin: the host's memory, for transfers beside the computation.
  """
  labels = np.where(batch["mlm_weights"] > 0, batch["mlm_labels"], IGNORED)
  inputs = {
    "input_ids": batch["tokens"],
    "token_type_ids": batch["token_type_ids"],
    "pair_labels": np.where(batch["pair_weights"] > 0, batch["pair_labels"], IGNORED),
  }
  if "example_ids" in batch:
    example_ids_BT = batch["example_ids"]
    inputs["attention_mask"] = example_ids_BT[:, None, :, None] == example_ids_BT[:, None, None, :]
    inputs |= {"position_ids": batch["positions"], "cls_positions": batch["cls_positions"]}
  elif not batch["mask"].all():
    inputs["attention_mask"] = batch["mask"]
  if tuned:
    inputs |= {"mlm_positions": batch["mlm_positions"], "mlm_labels": labels}
  else:
    rows, slots = np.nonzero(batch["mlm_weights"])
    inputs["labels"] = np.full(batch["tokens"].shape, IGNORED)
    inputs["labels"][rows, batch["mlm_positions"][rows, slots]] = labels[rows, slots]
  arrays = {name: array if array.dtype == bool else np.asarray(array, np.int64) for name, array in inputs.items()}
  tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
  return {name: (t.pin_memory() if pin else t).to(device or t.device) for name, t in tensors.items()}


def make_loss(model: torch.nn.Module, *, tuned: bool) -> Loss:
  """The model's own loss, with labels at every position; or, tuned, heads on the predicted positions only."""
  is_albert = model.config.model_type == "albert"
  pair = {"albert": "sop_classifier", "bert": "cls.seq_relationship"}[model.config.model_type]
  has_pair = any(name.startswith(pair) for name, _ in model.named_parameters())
  label = "sentence_order_label" if is_albert else "next_sentence_label"

  def own_loss(inputs: Inputs) -> torch.Tensor:
    inputs = dict(inputs)
    pair_labels = inputs.pop("pair_labels")
    return model(**inputs, **({label: pair_labels} if has_pair else {})).loss

  body = model.albert if is_albert else model.bert
  predict = model.predictions if is_albert else model.cls.predictions

  def pool(x_XD: torch.Tensor) -> torch.Tensor:
    return body.pooler_activation(body.pooler(x_XD)) if is_albert else body.pooler(x_XD[:, None])

  def gathered_loss(inputs: Inputs) -> torch.Tensor:
    inputs = dict(inputs)
    positions, labels, pair_labels = (inputs.pop(name) for name in ("mlm_positions", "mlm_labels", "pair_labels"))
    cls_positions = inputs.pop("cls_positions", None)
    out = body(**inputs)
    logits = predict(_at(out.last_hidden_state, positions))
    loss = functional.cross_entropy(logits.float(), labels.flatten(), ignore_index=IGNORED)
    if has_pair:
      pooled = out.pooler_output if cls_positions is None else pool(_at(out.last_hidden_state, cls_positions))
      logits = model.get_submodule(pair)(pooled)
      loss = loss + functional.cross_entropy(logits.float(), pair_labels.flatten(), ignore_index=IGNORED)
    return loss

  return gathered_loss if tuned else own_loss


def _at(x_BTD: torch.Tensor, positions_BM: torch.Tensor) -> torch.Tensor:
  """Those positions of every row, one after the other: [B·M, D]."""
  return x_BTD.gather(1, positions_BM[:, :, None].expand(-1, -1, x_BTD.shape[-1])).flatten(0, 1)


def make_step(
  model: torch.nn.Module, job: Job, peer: Peer, device: torch.device, dtype: torch.dtype
) -> Callable[[Inputs], torch.Tensor]:
  """One step of training: loss and gradient, clip to norm 1, AdamW with fused updates."""
  settings = job.config.optimizer
  loss = make_loss(model, tuned=peer.tuned)
  if peer.compiled:
    thorough = peer.tuned and device.type == "cuda"
    loss = torch.compile(loss, mode="max-autotune-no-cudagraphs" if thorough else "default")
  parameters = list(model.parameters())
  groups = [
    {"params": [p for p in parameters if p.ndim > 1], "weight_decay": settings.weight_decay},
    {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
  ]
  optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate, eps=settings.epsilon, fused=True)

  def step(inputs: Inputs) -> torch.Tensor:
    inputs = {name: tensor.to(device, non_blocking=True) for name, tensor in inputs.items()}
    optimizer.zero_grad(set_to_none=True)
    with torch.autocast(device.type, torch.bfloat16, enabled=dtype == torch.bfloat16):
      value = loss(inputs)
    value.backward()
    torch.nn.utils.clip_grad_norm_(parameters, settings.clip_norm or 1.0, foreach=device.type == "cuda")
    optimizer.step()
    return value.detach()

  return step


def _time_steps(job: Job, step: Callable, inputs: list[Inputs], device: torch.device) -> dict[str, Any]:
  """As of ours. A GPU is not waited for between steps."""
  is_cuda = device.type == "cuda"
  wait = torch.cuda.synchronize if is_cuda else lambda: None
  marks = []
  for number in range(job.warmup + job.steps):
    if number == job.warmup:
      processor = time.process_time()
    marks.append(_mark(is_cuda))
    step(inputs[number % len(inputs)])
    if number == 0:
      wait()
      first = time.time() - job.started
  marks.append(_mark(is_cuda))
  wait()
  pairs = itertools.pairwise(marks[job.warmup :])
  return {
    "seconds": [a.elapsed_time(b) / 1000 if is_cuda else b - a for a, b in pairs],
    "processor_seconds": time.process_time() - processor,
    "first_step_seconds": first,
  }


def _mark(is_cuda: bool):
  """A point in time, on the GPU's own clock or on the host's."""
  if not is_cuda:
    return time.perf_counter()
  event = torch.cuda.Event(enable_timing=True)
  event.record()
  return event


def _gemm(device: torch.device, dtype: torch.dtype):
  """For `timing.gemm_ceiling`."""

  def make(size: int):
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))

    def multiply():
      a @ b
      if device.type == "cuda":
        torch.cuda.synchronize()

    return multiply

  return make


def _memory(device: torch.device) -> dict[str, int]:
  memory = {"resident": timing.peak_resident_bytes()}
  return memory | ({"device": torch.cuda.max_memory_allocated()} if device.type == "cuda" else {})


def _device() -> torch.device:
  return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _is_bfloat16(job: Job, device: torch.device) -> bool:
  name = job.config.model.dtype
  return name == "bfloat16" or (name == "auto" and device.type == "cuda")
