"""A trained model as the start of one with other sharing tables, another depth or other parts of each layer's own."""

import dataclasses
from collections.abc import Callable

import jax
from flax.traverse_util import flatten_dict, unflatten_dict
from jax.sharding import NamedSharding, PartitionSpec

from albert_jax.errors import InputError
from albert_jax.models import surgery
from albert_jax.models.sizes import EncoderConfig
from albert_jax.training.init_from import Pretrained


def operate(start: Pretrained, old: EncoderConfig, new: EncoderConfig, rule: str, moments: str) -> Pretrained:
  """The start as a model with the tables and the depth of another; its arrays are made when they are restored.

  Args:
    start: a trained model.
    old: its encoder.
    new: the encoder that is to start from it, of the same widths.
    rule: how weight groups take from several layers, a name of `models.surgery.RULES`.
    moments: `init_optimizer` of the config: "new", or a name of `models.surgery.MOMENTS`.

  Raises:
    InputError: the kinds of model differ, the rule needs what the new one does not have, or the moments cannot follow.
  """
  if old.kind != new.kind:
    raise InputError(f"init_from={start.path} is a {old.kind}, and model.kind is {new.kind}: they must be equal.")
  if rule == "svd" and not new.depth.lora:
    raise InputError("init_rule=svd fills each layer's low-rank additions: give their rank, model.depth.lora.")
  if (old.tables, old.depth) == (new.tables, new.depth) and rule != "svd":
    return start
  if moments != "new" and (rule == "svd" or not surgery.folded_depth(old, new, rule).is_plain):
    raise InputError(
      f"init_optimizer={moments}: the moments of {start.path} are those of its weights, of which init_rule=svd or "
      "another model.depth makes others. Leave it at new, or keep model.depth."
    )
  specs = start.specs["encoder"]

  def restore(wanted: dict) -> dict:
    found = start.restore({**wanted, "encoder": _like(specs, wanted["encoder"])})
    moved = _placed(lambda encoder: surgery.transplant(encoder, old, new, rule), wanted["encoder"])
    return {**found, "encoder": moved(found["encoder"])}

  def restore_moments(wanted: dict) -> dict:
    encoders = {name: wanted[name]["encoder"] for name in ("mu", "nu")}
    found = start.restore_moments(
      wanted | {name: {**wanted[name], "encoder": _like(specs, encoder)} for name, encoder in encoders.items()}
    )
    moved = _placed(lambda trees: surgery.transplant_moments(trees, old, new, rule, moments), encoders)
    new_encoders = moved({name: found[name]["encoder"] for name in encoders})
    return found | {name: {**found[name], "encoder": new_encoders[name]} for name in encoders}

  return dataclasses.replace(
    start,
    specs={**start.specs, "encoder": jax.eval_shape(lambda e: surgery.transplant(e, old, new, rule), specs)},
    restore=restore,
    restore_moments=start.restore_moments and restore_moments,
    about=f"{start.about}, with other sharing, depth or layers by the rule {rule}",
  )


def _like(specs: dict, wanted: dict) -> dict:
  """The old model's shapes, each placed as the parameter of its name in the new one; without one, on every device."""
  places = {path: leaf.sharding for path, leaf in flatten_dict(wanted).items()}
  some = next(iter(places.values()))
  everywhere = NamedSharding(some.mesh, PartitionSpec()) if isinstance(some, NamedSharding) else some
  flat = {
    path: jax.ShapeDtypeStruct(spec.shape, spec.dtype, sharding=places.get(path, everywhere))
    for path, spec in flatten_dict(specs).items()
  }
  return unflatten_dict(flat)


def _placed(function: Callable[[dict], dict], wanted: dict) -> Callable[[dict], dict]:
  """The function, compiled, with those of its results that are wanted in their places."""
  places = {path: leaf.sharding for path, leaf in flatten_dict(wanted).items()}

  def chosen(arguments: dict) -> dict:
    results = flatten_dict(function(arguments))
    return {path: results[path] for path in places}

  compiled = jax.jit(chosen, out_shardings=places)
  return lambda arguments: unflatten_dict(compiled(arguments))
