import numpy as np
import pytest

from albert_jax.errors import InputError
from albert_jax.lab import match, plan
from albert_jax.lab.cost import cost
from albert_jax.lab.match import TOLERANCE, match_steps, polynomial, search_widths
from albert_jax.lab.spec import apply
from albert_jax.models.sharing import make_table, num_groups
from configs import albert_mini
from tests.lab.fake import make_lab


def counter(attn: int, ffn: int):
  """Parameters of the layers by width and ffn, for some numbers of weight groups (ALBERT's closed form)."""
  return lambda d, f: attn * (4 * d * d + 6 * d) + ffn * (2 * d * f + f + 3 * d)


def test_every_scheme_is_matched_over_random_bases():
  rng = np.random.default_rng(0)
  schemes = [("all", "all"), ("all", "none"), ("none", "all"), ("cycle:2", "sequence:3"), ("sandwich", "all")]
  for _ in range(20):
    head = int(rng.choice([32, 64]))
    layers, width = int(rng.integers(4, 25)), head * int(rng.integers(4, 17))
    target = counter(layers, layers)(width, 4 * width)
    for attn, ffn in schemes:
      count = counter(*(num_groups(make_table(scheme, layers)) for scheme in (attn, ffn)))
      found = search_widths(polynomial(count, head), target, head=head, ratio=4.0)
      assert abs(found[2] / target - 1) <= TOLERANCE, (head, layers, width, attn, ffn, found)
      assert found[0] % head == 0
      assert found[2] == count(*found[:2])


def make_base(**values):
  return apply(albert_mini.get_config(), {f"model.{key}": value for key, value in values.items()}, "test")


def test_matched_parameters_and_flops_of_real_configs():
  lab = make_lab(match="params")
  lab.base = make_base(layers=4, vocab_size=2000)
  lab.arms = {"all": lab.arms["all"], "none": lab.arms["none"]}
  arms = plan.make_arms(lab)
  assert arms["none"].match_error == 0
  assert arms["all"].cost.body == pytest.approx(arms["none"].cost.body, rel=TOLERANCE)
  assert arms["all"].cost.total != arms["none"].cost.total
  assert arms["all"].overrides["model.width"] > 256
  lab.match = "flops"
  lab.arms["all"] = {"model.layers": 8}
  arms = plan.make_arms(lab)
  per_step = arms["all"].cost.flops / arms["all"].cost.steps
  assert abs(arms["all"].cost.flops - arms["none"].cost.flops) <= per_step
  assert arms["all"].overrides["optimizer.warmup_steps"] < lab.base.optimizer.warmup_steps


def test_what_cannot_be_matched_names_the_nearest(monkeypatch):
  assert search_widths(lambda d, f: 10_000 * f, 14_000, head=2, ratio=0.5) == (2, 1, 10_000)
  monkeypatch.setattr(match, "search_widths", lambda *_, **__: (96, 264, 20_000))
  lab = make_lab(match="params")
  lab.arms = {"all": lab.arms["all"], "none": lab.arms["none"]}
  with pytest.raises(InputError, match=r"arm all, match=params.*model.width 96.*model.ffn 264"):
    plan.make_arms(lab)


def test_steps_stretch_with_their_schedule():
  config = albert_mini.get_config()
  found = match_steps(config, 4500, 9000)
  assert found == {"train.steps": 9000, "optimizer.warmup_steps": 600, "eval.every": 3000}


def test_readers_count_each_parameter_as_often_as_it_is_read():
  config = make_base(layers=8, vocab_size=2000)
  config = apply(config, {"model.sharing.attn": "loop:2-1-2", "model.sharing.ffn": "none"}, "test")
  found = cost(apply(config, {"model.sharing.norm": "all", "model.depth.lora": 4}, "test"))
  assert set(found.readers["attn"]) == {1, 4, 8}
  assert found.readers["attn"][8] == 2 * 256  # one LayerNorm, read by all
  assert found.readers["attn"][1] == 4 * found.readers["attn"][4]
  assert sum(sum(part.values()) for part in found.readers.values()) == found.body
  assert found.readers["depth"] == {1: found.by_part["encoder/depth"]}
