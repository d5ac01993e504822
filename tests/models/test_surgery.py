"""Other sharing tables and another depth: parameters and moments against plain formulas, functions that stay equal."""

import dataclasses

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from albert_jax.models import sharing, surgery
from albert_jax.models.sizes import DepthConfig
from tests.models.test_depth import ALL_OF_IT, apply, make, make_rows, params_of

LORA = DepthConfig(lora=8)  # the full rank of every matrix of `make`


def random_table(random, layers: int) -> sharing.Table:
  groups = random.integers(1, layers + 1)
  table = np.concatenate([np.arange(groups), random.integers(0, groups, layers - groups)])
  return tuple(int(group) for group in random.permutation(table))


def old_layers(layer: int, old: int, new: int, rule: str) -> list[int]:
  """The layers of the old model that one of the new model stands for."""
  if new >= old:
    return [layer % old]
  if rule == "lower":
    return [layer]
  if rule == "stepwise":
    return [round(layer * (old - 1) / (new - 1)) if new > 1 else 0]
  return [other for other in range(old) if other * new // old == layer]


def plain(w, old, new, rule):
  """Weights of every new group, one by one."""
  groups = max(new) + 1
  if old == new or (len(old) != len(new) and max(old) == max(new)):
    return w
  found = []
  for group in range(groups):
    layers = [layer for layer in range(len(new)) if new[layer] == group]
    if rule == "lower":
      layers = layers[:1]
    if rule == "stepwise":
      layers = [round(group * (len(new) - 1) / (groups - 1)) if groups > 1 else 0]
    means = [np.mean([w[old[o]] for o in old_layers(n, len(old), len(new), rule)], axis=0) for n in layers]
    found.append(np.mean(means, axis=0))
  return np.stack(found)


def plain_moments(mu, nu, old, new, assumption):
  """Moments of every new group by the definition: each old reader has its part, the new readers' parts add up."""
  power = {"parallel": 2, "independent": 1}[assumption]
  counts = np.bincount(old)
  of_mu = [mu[group] / counts[group] for group in old]
  of_nu = [nu[group] / counts[group] ** power for group in old]
  new_mu, new_nu = [], []
  for group in range(max(new) + 1):
    layers = [layer for layer in range(len(new)) if new[layer] == group]
    new_mu.append(sum(of_mu[layer] for layer in layers))
    new_nu.append(sum(of_nu[layer] ** (1 / power) for layer in layers) ** power)
  return np.stack(new_mu), np.stack(new_nu)


@pytest.mark.parametrize("rule", ["average", "stepwise", "lower"])
def test_weights_are_those_of_a_plain_loop(rule):
  random = np.random.default_rng(0)
  for _ in range(200):
    old, new = (random_table(random, random.integers(1, 9)) for _ in range(2))
    w = random.normal(size=(max(old) + 1, 3))
    found = surgery.combine(w.astype("f4"), surgery.weights(old, new, rule))
    np.testing.assert_allclose(found, plain(w, old, new, rule), atol=1e-6, err_msg=f"{old} → {new}")


@pytest.mark.parametrize("assumption", ["parallel", "independent"])
def test_moments_are_those_of_a_plain_loop(assumption):
  random = np.random.default_rng(1)
  for _ in range(20):
    tables = [[random_table(random, 4) for _ in range(2)] for _ in range(2)]
    old, new = (make(4, *pair) for pair in tables)
    moments = {"mu": params_of(old, 2), "nu": jax.tree.map(np.square, params_of(old, 3))}
    found = surgery.transplant_moments(moments, old, new, "average", assumption)
    flat = {name: flatten_dict(tree, sep="/") for name, tree in moments.items()}
    for path in ("attn/key/kernel", "ffn/norm/scale"):
      pair = old.tables[path], new.tables[path]
      expected = plain_moments(flat["mu"][path], flat["nu"][path], *pair, assumption)
      for name, values in zip(("mu", "nu"), expected, strict=True):
        np.testing.assert_allclose(
          flatten_dict(found[name], sep="/")[path], values, rtol=1e-5, atol=1e-6, err_msg=f"{pair}"
        )


def test_a_deeper_and_a_shallower_model_by_hand():
  apart, deep, flat = (0, 1, 2, 3), tuple(range(8)), (0, 1)

  def source(old, new, rule):
    return surgery.combine(np.arange(len(old), dtype="f4"), surgery.weights(old, new, rule)).tolist()

  assert source(apart, deep, "average") == [0, 1, 2, 3, 0, 1, 2, 3]
  assert source(apart, flat, "average") == [0.5, 2.5]
  assert source(apart, flat, "stepwise") == [0, 3]
  assert source(apart, flat, "lower") == [0, 1]
  assert source((0, 1, 0, 1), (0, 1, 0, 1, 0, 1), "average") == [0, 1]


@pytest.mark.parametrize("depth", [DepthConfig(), ALL_OF_IT])
@pytest.mark.parametrize("tables", [("none", "none"), ("sequence:2", "0,1,2,2")])
def test_unshared_it_computes_the_same(depth, tables):
  old, new = make(4, "all", "0,1,0,0", depth), make(4, *tables, depth)
  params, rows = params_of(old, 0), make_rows()
  found = surgery.transplant(params, old, new, "average")
  np.testing.assert_array_equal(apply(new, found, rows), apply(old, params, rows))


def test_scales_by_readers_are_folded_where_the_readers_become_others():
  depth = DepthConfig(residual="inverse", embedding="sinusoid")
  old, new = make(4, "all", "0,1,0,0", depth), make(4, "none", "none", depth)
  params, rows = params_of(old, 0), make_rows()
  close(apply(new, surgery.transplant(params, old, new, "average"), rows), apply(old, params, rows))


def close(a, b):
  np.testing.assert_allclose(a, b, atol=2e-5)


def test_what_a_layer_owned_is_folded_where_the_new_model_has_it_not():
  old, rows = make(4, "cycle:2", "all", ALL_OF_IT), make_rows()
  params = params_of(old, 0)
  new = make(4, "none", "none")
  close(apply(new, surgery.transplant(params, old, new, "average"), rows), apply(old, params, rows))
  other = make(4, "none", "none", dataclasses.replace(ALL_OF_IT, lora=0))
  found = surgery.transplant(params, old, other, "average")
  np.testing.assert_array_equal(found["depth"]["embedding"], params["depth"]["embedding"])
  assert "attn" not in found["depth"]
  close(apply(other, found, rows), apply(old, params, rows))


@pytest.mark.parametrize("assumption", surgery.MOMENTS)
def test_there_and_back(assumption):
  shared, apart = make(3), make(3, "none", "none")
  params = params_of(shared, 0)
  back = surgery.transplant(surgery.transplant(params, shared, apart, "average"), apart, shared, "average")
  jax.tree.map(np.testing.assert_array_equal, back, params)
  moments = {"mu": params, "nu": jax.tree.map(np.square, params)}
  there = surgery.transplant_moments(moments, shared, apart, "average", assumption)
  back = surgery.transplant_moments(there, apart, shared, "average", assumption)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=3e-7, atol=1e-8), back, moments)


def test_low_rank_additions_of_full_rank_bring_every_layer_back():
  old = make(4, "none", "none")
  params, rows = params_of(old, 0), make_rows()
  exact, errors = apply(old, params, rows), []
  for rank in (0, 1, 4, 8):
    new = make(4, depth=dataclasses.replace(LORA, lora=rank), norm="none", bias="none")
    found = surgery.transplant(params, old, new, "svd" if rank else "average")
    assert found["attn"]["query"]["kernel"].shape[0] == 1
    errors.append(float(np.abs(apply(new, found, rows) - exact).max()))
  assert errors == sorted(errors, reverse=True)
  assert errors[-1] < 1e-4 < errors[0] / 100


def test_truncation_is_the_best_of_its_rank():
  random = np.random.default_rng(0)
  residual = random.normal(size=(3, 4, 2, 5)).astype("f4")
  a, b = surgery.low_rank(residual, 2, 2)
  assert (a.shape, b.shape) == ((3, 4, 2, 2), (3, 2, 5))
  for matrix, left, right in zip(residual.reshape(3, 8, 5), a.reshape(3, 8, 2), b, strict=True):
    missing = np.linalg.norm(matrix - left @ right)
    assert missing == pytest.approx(np.sqrt((np.linalg.svd(matrix)[1][2:] ** 2).sum()), rel=1e-5)


def test_low_rank_additions_to_nothing_can_be_learned():
  """Where nothing is missing, B is 0 and A is not: with both at 0 there would be no gradient."""
  shared = make(3)
  new = make(3, depth=DepthConfig(lora=2))
  own = surgery.transplant(params_of(shared, 0), shared, new, "svd")["depth"]["ffn"]["up"]
  np.testing.assert_allclose(own["b"], 0, atol=1e-6)
  assert np.abs(own["a"]).max() > 0.1
