import math
import threading

import pytest

from albert_jax.errors import InputError
from albert_jax.lab import plan, schedule, spec
from albert_jax.lab.claims import Claims
from albert_jax.lab.plan import Run, tuning
from albert_jax.lab.spec import TUNING_SEED
from tests.lab.fake import make_lab

RATE = "optimizer.learning_rate"


class FakeLab:
  """Runs that end at once, with a loss by formula; counts how often each is done."""

  def __init__(self, lab, loss, workdir):
    self.lab, self.loss, self.workdir, self.order = lab, loss, workdir, []
    self.results, self.lock = {}, threading.Lock()

  def execute(self, run, start):
    assert start is None or start.folder in self.results
    with self.lock:
      self.order.append(run)
    self.results[run.folder] = self.loss(run)

  def work(self, **only):
    schedule.work(
      lambda: schedule.wanted(self.lab, dict(self.results), **only),
      lambda run: run.folder in self.results,
      self.execute,
      self.workdir,
      Claims(),
      poll=0.01,
    )


def by_rate(best: float, spread=0.1):
  return lambda run: 3 + spread * abs(math.log2(dict(run.point).get(RATE, best) / best)) + run.seed * 1e-5


def test_the_tuning_comes_first_and_then_seed_after_seed(tmp_path):
  lab = FakeLab(make_lab(seeds=2, tune={RATE: (1e-3, 2e-3, 4e-3)}, tune_seeds=2), by_rate(2e-3), tmp_path)
  lab.work()
  tuned, reported = lab.order[:24], lab.order[24:]
  assert all(run.is_tuning for run in tuned)
  assert {run.seed for run in tuned[:12]} == {TUNING_SEED}  # a cut tuning has a whole grid
  assert [(run.seed, run.arm) for run in reported] == [(seed, arm) for seed in (0, 1) for arm in lab.lab.arms]
  assert {run.point for run in reported} == {((RATE, 2e-3),)}
  assert len({run.folder for run in lab.order}) == len(lab.order)
  assert not {run.seed for run in reported} & {run.seed for run in tuned}


def test_a_grid_grows_where_its_best_value_is_at_the_edge(tmp_path):
  lab = FakeLab(make_lab(seeds=1, tune={RATE: (1e-3, 2e-3)}, tune_extend=1), by_rate(4e-3), tmp_path)
  lab.work()
  choice = tuning(lab.lab, "all", lab.results)
  assert choice.grid == {RATE: (1e-3, 2e-3, 4e-3)}
  assert choice.best == ((RATE, 4e-3),)
  assert choice.at_edge == (RATE,)  # it could not grow any further
  lab.lab.tune_extend = 3
  lab.work()
  choice = tuning(lab.lab, "all", lab.results)
  assert (choice.best, choice.at_edge) == (((RATE, 4e-3),), ())
  low = FakeLab(make_lab(seeds=1, tune={RATE: (1e-3, 2e-3)}), by_rate(5e-4), tmp_path / "low")
  low.work()
  assert tuning(low.lab, "all", low.results).best == ((RATE, 5e-4),)


def test_values_that_diverge_are_not_chosen(tmp_path):
  def loss(run):
    return math.nan if dict(run.point)[RATE] > 1e-3 else 3.0

  lab = FakeLab(make_lab(seeds=1, tune={RATE: (1e-3, 2e-3)}, tune_extend=0), loss, tmp_path)
  lab.work()
  assert tuning(lab.lab, "all", lab.results).best == ((RATE, 1e-3),)


def test_keys_multiply(tmp_path):
  tune = {RATE: (1e-3, 2e-3), "optimizer.beta2": (0.98, 0.999)}
  lab = FakeLab(make_lab(seeds=1, tune=tune, tune_extend=0), by_rate(1e-3), tmp_path)
  lab.work()
  assert sum(run.is_tuning for run in lab.order) == 4 * 4
  assert lab.order[0].folder == "runs/all/learning_rate=0.001,beta2=0.98/seed=1000"


def test_many_workers_do_every_run_once(tmp_path):
  lab = FakeLab(make_lab(seeds=4, tune={RATE: (1e-3, 2e-3, 4e-3)}), by_rate(2e-3), tmp_path)
  workers = [threading.Thread(target=lab.work) for _ in range(6)]
  [worker.start() for worker in workers]
  [worker.join() for worker in workers]
  assert len(lab.order) == len({run.folder for run in lab.order}) == 4 * 3 + 4 * 4


def test_some_arms_and_seeds_only(tmp_path):
  lab = FakeLab(make_lab(seeds=3, tune={RATE: (1e-3, 2e-3, 4e-3)}), by_rate(2e-3), tmp_path)
  lab.work(arms=("ffn",), seeds=(1,))
  assert {run.arm for run in lab.order} == {"ffn"}
  assert [run.seed for run in lab.order if not run.is_tuning] == [1]


def test_an_arm_starts_from_the_run_of_another_with_the_same_seed(tmp_path):
  lab = make_lab(seeds=2, tune={RATE: (1e-3, 2e-3, 4e-3)})
  lab.arms = {"untied": {**lab.arms["none"], "init_from": "arm:all"}, "all": lab.arms["all"], "none": lab.arms["none"]}
  lab.check()
  fake = FakeLab(lab, by_rate(2e-3), tmp_path)
  fake.work()
  pairs = {run: start for run, start in schedule.wanted(lab, fake.results) if start}
  assert {run.arm for run in pairs} == {"untied"}
  assert all((start.arm, start.seed) == ("all", run.seed) for run, start in pairs.items())
  arms = plan.make_arms(lab)
  run, start = next(iter(pairs.items()))
  assert plan.run_config(lab, arms["untied"], run, "W", start).init_from == f"W/{start.folder}"


def test_arms_may_start_from_one_another_in_a_chain(tmp_path):
  lab = make_lab(seeds=2, tune={RATE: (1e-3, 2e-3, 4e-3)})
  lab.arms = {"c": {"init_from": "arm:b"}, "b": {"init_from": "arm:a"}, "a": {}, "none": {}}
  lab.check()
  assert lab.origins("c") == ["b", "a"]
  fake = FakeLab(lab, by_rate(2e-3), tmp_path)
  fake.work(arms=("c",))
  assert {run.arm for run in fake.order} == {"a", "b", "c"}
  starts = {(run.arm, start.arm) for run, start in schedule.wanted(lab, fake.results) if start}
  assert starts == {("c", "b"), ("b", "a")}
  lab.arms["a"] = {"init_from": "arm:c"}
  with pytest.raises(InputError, match="starts from"):
    lab.check()


@pytest.mark.parametrize(
  ("fields", "named"),
  [
    ({"baseline": "nobody"}, "nobody"),
    ({"match": "memory"}, "memory"),
    ({"arms": {"a/b": {}}}, "a/b"),
    ({"tune": {RATE: (1e-3,)}}, RATE),
    ({"seeds": 0}, "seeds"),
    ({"seeds": 2000}, "seeds"),
    ({"metric": "mlm_loss"}, "mlm_loss"),
    ({"analyses": ("depht",)}, "depth"),
    ({"arms": {"none": {"init_from": "arm:b"}}}, "b"),
  ],
)
def test_specs_that_do_not_fit_are_named(fields, named):
  with pytest.raises(InputError, match=named):
    make_lab(**fields)


def test_arms_that_do_not_fit_are_named():
  for overrides, named in (
    ({"model.widht": 3}, "width"),
    ({"model.width": "3"}, "model.width"),
    ({"model.heads": 3}, "odd"),
  ):
    lab = make_lab(arms={"none": {}, "odd": overrides})
    with pytest.raises(InputError, match=named):
      plan.make_arms(lab)


def test_products_and_zips_of_arms():
  a, b = {"x": {"p": 1}, "y": {"p": 2}}, {"u": {"q": 3}, "v": {"q": 4}}
  assert spec.product(a, b)["y-u"] == {"p": 2, "q": 3}
  assert list(spec.product(a, b)) == ["x-u", "x-v", "y-u", "y-v"]
  assert spec.zip(a, b) == {"x-u": {"p": 1, "q": 3}, "y-v": {"p": 2, "q": 4}}
  with pytest.raises(InputError, match=r"\[2, 1\]"):
    spec.zip(a, {"u": {}})


def test_a_folder_takes_more_arms_and_seeds_but_no_other_lab(tmp_path):
  lab = make_lab()
  spec.save(lab, str(tmp_path), plan={"arms": {}})
  more = make_lab(seeds=9, margin=0.5)
  more.arms["norm"] = {"model.sharing.norm": "none"}
  spec.check_same(more, str(tmp_path))
  other = make_lab()
  other.base = spec.apply(other.base, {"model.width": 64}, "test")
  with pytest.raises(InputError, match=r"model\.width.*32.*64"):
    spec.check_same(other, str(tmp_path))
  with pytest.raises(InputError, match=r"arms\[all\]"):
    spec.check_same(make_lab(arms={**lab.arms, "all": {}}), str(tmp_path))


def test_reported_seeds_are_never_those_of_the_tuning():
  lab = make_lab()
  lab.seeds = TUNING_SEED + 1
  with pytest.raises(AssertionError):
    plan.reported(lab, "all", ())
  assert Run("a", (), TUNING_SEED).is_tuning
