import importlib
import json
import math
from pathlib import Path

import pytest

from albert_jax.config.__main__ import main
from albert_jax.config.records import (
  add_missing,
  adopt_earlier,
  check_config,
  flatten,
  load_config,
  new_config,
  save_config,
  split_lists,
)
from albert_jax.config.schema import SCHEMA, fields_of
from albert_jax.errors import InputError
from albert_jax.tasks import make_task
from tests.builders import ROOT, override

PRETRAINING = "albert_tiny"
SAMPLES = {int: (-1, 10**20, "1", 1.5, True), float: (math.nan, math.inf, -math.inf, "x")}
SAMPLES |= {str: (3, None, ["a"]), bool: (0, "True"), tuple: ("ab", (1, 2), None)}


def get_config(name: str = PRETRAINING):
  return importlib.import_module(f"configs.{name}").get_config("test")


def shape(config) -> None:
  """Fills what a start would give."""
  config.model.update(vocab_size=60, embedding=8, width=8, layers=2, heads=2, ffn=8, positions=64, token_types=2)
  config.model.update(activation="gelu")


@pytest.mark.parametrize("name", sorted(path.stem for path in Path(ROOT, "configs").glob("[!_c]*.py")))
def test_every_config_passes(name):
  config = importlib.import_module(f"configs.{name}").get_config("")
  with config.unlocked():
    shape(config)
  check_config(config)


@pytest.mark.parametrize("key", fields_of("pretrain", "pydoc"))
def test_wrong_types_and_values_are_refused_by_name(key):
  for value in SAMPLES[type(SCHEMA[key][0].default)]:
    if value == SCHEMA[key][0].off:
      continue
    config = get_config().unlock()
    *groups, name = key.split(".")
    record = config
    for group in groups:
      record = record[group]
    with record.ignore_type():
      record[name] = value
    with pytest.raises(InputError, match=key.replace(".", r"\.")):
      check_config(config)


@pytest.mark.parametrize(
  ("key", "value"),
  [
    ("optimizer.learning_rate", math.nan),
    ("optimizer.learning_rate", math.inf),
    ("optimizer.learning_rate", 1e39),
    ("optimizer.weight_decay", math.inf),
    ("optimizer.clip_norm", math.nan),
    ("optimizer.epsilon", math.nan),
    ("optimizer.epsilon", 0.0),
    ("optimizer.epsilon", 1e-50),  # 0 in float32
    ("optimizer.beta2", 1.5),
    ("optimizer.name", "lam"),
    ("optimizer.schedule", "lineal"),
    ("eval.batch_size", -4),
    ("eval.batch_size", 0),
    ("data.workers", -1),
    ("data.prefetch", -1),
    ("train.timeout", -1),
    ("train.spike_factor", 0.5),
    ("train.spike_factor", 1.0),
    ("train.max_bad_steps", 0),
    ("seed", 2**63),
    ("seed", -1),
    ("train.steps", 10**20),
    ("mesh.data", 0),
  ],
)
def test_values_out_of_range_stop_before_the_task_is_made(key, value):
  with pytest.raises(InputError, match=key.replace(".", r"\.")):
    make_task(override(get_config(), {key: value}))


def test_an_unknown_key_is_named_with_the_nearest():
  config = get_config().unlock()
  config.optimizer.momentum2 = 0.9
  with pytest.raises(InputError, match=r"optimizer\.momentum2"):
    check_config(config)


@pytest.mark.parametrize(
  ("given", "labels"), [((0, 1), ("0", "1")), (("pos, neg",), ("pos", "neg")), (("a", "b"), ("a", "b")), ((), ())]
)
def test_labels_of_the_command_line_are_a_list_of_texts(given, labels):
  config = get_config("glue").unlock()
  with config.data.ignore_type():
    config.data.labels = given
  split_lists(config)
  assert config.data.labels == labels


def test_a_source_brings_its_keys():
  config = new_config("classify", "mine")
  assert "label" not in config.data
  config.data.source = "text_files"
  add_missing(config)
  assert (config.data.label, config.data.valid_fraction) == ("label", 0.1)


def test_pretraining_and_fine_tuning_have_the_same_training_keys():
  pretraining, finetuning = (set(fields_of(task, "")) for task in ("pretrain", "classify"))
  groups = ("train.", "optimizer.", "mesh.", "eval.", "checkpoint.")
  differ = {key for key in pretraining ^ finetuning if key.startswith(groups) or "." not in key}
  assert differ == {"train.loss_chunks"}  # no other loss has logits as wide as the vocabulary


def test_no_default_hides_in_the_code():
  found = []
  for path in [*Path(ROOT, "albert_jax").rglob("*.py"), ROOT / "train.py", ROOT / "eval.py"]:
    for number, line in enumerate(path.read_text().splitlines(), 1):
      if "config." in line and ".get(" in line.partition("config.")[2].partition(" ")[0]:
        found.append(f"{path.relative_to(ROOT)}:{number}")
  assert not found


def test_the_table_of_the_docs_is_current():
  assert Path(ROOT, "docs/config.md").read_text() == main(["--markdown"]) + "\n", (
    "python -m albert_jax.config --markdown > docs/config.md"
  )


def test_help_finds_a_key_and_a_group():
  assert main(["optimizer.floor"]).startswith("optimizer.floor = 0.0  [at least 0 and at most 1]")
  assert len(main(["mesh"]).split("\n\n")) == 3
  with pytest.raises(InputError, match=r"optimizer\.floor"):
    main(["optimizer.flor"])


def test_a_saved_config_comes_back_equal(tmp_path):
  config = get_config("race")
  save_config(config, str(tmp_path))
  assert flatten(load_config(str(tmp_path))) == flatten(config)


def test_a_record_of_an_earlier_version_gets_what_it_meant(tmp_path):
  record = json.loads(get_config().to_json_best_effort())
  del record["seeds"], record["optimizer"]["layer_decay"], record["data"]["max_length"]
  (tmp_path / "config.json").write_text(json.dumps(record))
  config = load_config(str(tmp_path))
  assert (config.seeds, config.optimizer.layer_decay, config.data.max_length) == (1, 1.0, record["model"]["positions"])


def nodes(value, path=()):
  """The paths of all nodes of a JSON value."""
  yield path
  items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
  for key, child in items:
    yield from nodes(child, (*path, key))


@pytest.mark.parametrize("name", [PRETRAINING, "squad", "glue"])
def test_any_damage_to_a_saved_config_is_an_input_error(name, tmp_path):
  original = json.loads(get_config(name).to_json_best_effort())
  path = tmp_path / "config.json"
  refused = 0
  for place in nodes(original):
    for junk in (None, [], {}, "x", 1e400, -(10**30), [["deep"]], True, "\ud800"):
      record = json.loads(json.dumps(original))
      holder = record
      for key in place[:-1]:
        holder = holder[key]
      if place:
        holder[place[-1]] = junk
      path.write_text(json.dumps(record if place else junk))
      try:
        load_config(str(tmp_path))
      except InputError:
        refused += 1
  assert refused > 400


def test_a_run_of_an_earlier_version_keeps_what_it_meant(tmp_path):
  """Its config.json lacks keys of today; what the command line sets on purpose, and what may change, stays."""
  from configs import albert_tiny

  def config(**values):
    return override(albert_tiny.get_config("test"), values)

  record = config(seed=3).to_dict()
  del record["data"]["holdout_seed"]
  (tmp_path / "config.json").write_text(json.dumps(record))
  adopted = config(seed=3)
  assert adopt_earlier(adopted, tmp_path) == {"data.holdout_seed": 3}
  assert adopted.data.holdout_seed == load_config(tmp_path).data.holdout_seed == 3
  for other, allowed in ((config(seed=3, **{"data.holdout_seed": 5}), ()), (config(seed=3), ("data.holdout_seed",))):
    assert adopt_earlier(other, tmp_path, allowed) == {}
  (tmp_path / "config.json").write_text("[")
  assert adopt_earlier(config(seed=3), tmp_path) == {}
