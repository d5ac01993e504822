"""Files by which the processes of a benchmark hand over; imports little, since peers read it, too."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import safetensors.numpy

Batch = dict[str, np.ndarray]

BATCHES, PEER_BATCHES, GATE_BATCH = "batches.npz", "peer_batches.npz", "gate_batch.npz"
MODEL_FOLDER = "model"


def save_batches(path: Path, batches: Sequence[Batch]) -> None:
  """Writes batches of equal shapes."""
  np.savez(path, **{name: np.stack([batch[name] for batch in batches]) for name in batches[0]})


def load_batches(path: Path) -> list[Batch]:
  """Reads what `save_batches` wrote."""
  with np.load(path) as file:
    arrays = {name: file[name] for name in file.files}
  count = len(next(iter(arrays.values())))
  return [{name: array[number] for name, array in arrays.items()} for number in range(count)]


def tokens_of(batch: Batch) -> int:
  """Tokens that are not padding."""
  return int(np.count_nonzero(batch["mask"] if "mask" in batch else batch["example_ids"]))


def timed_tokens(batches: Sequence[Batch], warmup: int, steps: int) -> int:
  """Tokens of the steps after warm-up, where step n takes batch n modulo their number."""
  tokens = [tokens_of(batch) for batch in batches]
  return sum(tokens[number % len(batches)] for number in range(warmup, warmup + steps))


def save_gradient(path: Path, loss: float, gradient: dict[str, np.ndarray]) -> None:
  """Writes a loss and its gradient, float32."""
  safetensors.numpy.save_file(gradient, path, {"loss": repr(float(loss))})


def load_gradient(path: Path) -> tuple[float, dict[str, np.ndarray]]:
  """Reads what `save_gradient` wrote."""
  with safetensors.safe_open(path, framework="numpy") as file:
    return float(file.metadata()["loss"]), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def tensor_names(folder: Path) -> list[str]:
  """Names of the tensors of the model in a folder."""
  with safetensors.safe_open(folder / "model.safetensors", framework="numpy") as file:
    return list(file.keys())
