"""A trained model as one function of a tokenizer's output, which is what the serving formats hold."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from flax import nnx

from albert_jax.data.tokenizers.hf_folder import save_tokenizer
from albert_jax.data.tokenizers.registry import load_tokenizer
from albert_jax.files import new_folder
from albert_jax.interop.pretrained import open_pretrained
from albert_jax.messages import say
from albert_jax.models.encoder import make_encoder
from albert_jax.models.heads import MaskedLMHead, Pooler, encode
from albert_jax.models.layers import Dense
from albert_jax.models.param import abstract_module
from albert_jax.models.sizes import EncoderConfig
from albert_jax.tasks.settings import RUNTIME, encoder_config

INPUTS = ("input_ids", "token_type_ids", "attention_mask")  # integers [B, T], as Hugging Face's tokenizers name them


@dataclasses.dataclass(frozen=True)
class ServingModel:
  """A model in float32, without dropout and packing.

  Attributes:
    config: the encoder's shape.
    params: nested dict of NumPy arrays.
  """

  config: EncoderConfig
  params: dict

  def __call__(self, input_ids_BT: jax.Array, token_type_ids_BT: jax.Array, attention_mask_BT: jax.Array) -> dict:
    """The outputs by name, float32; what they hold in padding has no meaning.

    Args:
      input_ids_BT: one text or pair of texts a row.
      token_type_ids_BT: 0 in the first text, 1 in the second.
      attention_mask_BT: 1 where there is a token, 0 in padding.

    Returns:
      last_hidden_state [B, T, D]; where the model has the head, mlm_logits [B, T, V], pair_logits [B, 2],
      logits [B, C], start_logits and end_logits [B, T].
    """
    batch = dict(tokens=input_ids_BT, token_type_ids=token_type_ids_BT, example_ids=attention_mask_BT)
    batch["positions"] = jnp.broadcast_to(jnp.arange(input_ids_BT.shape[1]), input_ids_BT.shape)
    x_BTD = encode(self._part("encoder", make_encoder), batch, None)
    found = {"last_hidden_state": x_BTD}
    if "mlm" in self.params:
      found["mlm_logits"] = self._part("mlm", MaskedLMHead)(x_BTD, self.params["encoder"]["embeddings"]["word"])
    for head, output in (("pair", "pair_logits"), ("classifier", "logits")):
      if head in self.params:
        found[output] = self._dense(head)(self._part("pooler", Pooler)(x_BTD[:, :1]))[:, 0]
    if "span" in self.params:
      span_BTC = self._dense("span")(x_BTD)
      found |= {"start_logits": span_BTC[..., 0], "end_logits": span_BTC[..., 1]}
    return found

  def _part(self, name: str, module: Callable) -> nnx.Module:
    return self._merge(name, lambda rngs: module(self.config, rngs=rngs))

  def _dense(self, name: str) -> nnx.Module:
    shape = self.params[name]["kernel"].shape
    return self._merge(name, lambda rngs: Dense(shape[:1], shape[1:], "DC", rngs=rngs))

  def _merge(self, name: str, make: Callable[[nnx.Rngs], nnx.Module]) -> nnx.Module:
    return nnx.merge(abstract_module(make), jax.tree.map(jnp.asarray, self.params[name]))


Writer = Callable[[ServingModel, Path], None]  # writes a model's file into a folder


def export_serving(path: str, folder: str, write: Writer, step: int | None = None) -> None:
  """Writes a folder with a model in a serving format and its tokenizer, which `AutoTokenizer` reads.

  Args:
    path: a model, as in `open_pretrained`; so is `step`.
    folder: new or empty; it appears whole or not at all.
    write: of the format.

  Raises:
    InputError: there is no such model, or the folder is not empty.
  """
  start = open_pretrained(path, step)
  config = encoder_config(ml_collections.ConfigDict({**start.model, **RUNTIME, "dtype": "float32", "attention": "xla"}))
  device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
  specs = jax.tree.map(lambda spec: jax.ShapeDtypeStruct(spec.shape, spec.dtype, sharding=device), start.specs)
  model = ServingModel(config, jax.tree.map(np.asarray, start.restore(specs)))
  with new_folder(folder) as temporary:
    if start.tokenizer:
      save_tokenizer(load_tokenizer(start.tokenizer), str(temporary), max_length=config.positions)
    else:
      say(f"warning: {path} has no tokenizer, and so {folder} gets none")
    write(model, temporary)  # last, for `save_tokenizer` makes the folder anew
