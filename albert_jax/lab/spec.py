"""The spec of a lab: arms, what is held equal between them, seeds, the tuning grid, and what is compared.

A spec is a Python file with a function `get_lab(arguments)` that returns a `Lab`; `labs/` holds examples. From there on
it is data: `lab.json` in the lab's folder.
"""

import builtins
import dataclasses
import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_collections

from albert_jax.config.python_file import call_in_file
from albert_jax.config.records import differences, flatten, is_free
from albert_jax.config.schema import SCHEMA
from albert_jax.errors import InputError, unknown
from albert_jax.files import new_file
from albert_jax.json_files import read_json

FILE = "lab.json"
MATCHES = ("shape", "params", "params_total", "flops", "time")
TUNING_SEED = 1000  # the first seed of the tuning runs; reported seeds lie below
ANALYSES = ("depth", "conflict", "growth")
FROM_ARM = "arm:"  # init_from="arm:NAME" starts from the run of another arm with the same seed

Overrides = dict[str, Any]


@dataclasses.dataclass(slots=True)
class Lab:
  """One question, put to several models.

  Attributes:
    name: the default folder is runs/labs/NAME.
    base: the config that every run starts from.
    question: one sentence for the page.
    arms: what each arm changes in the base, by dotted key.
    baseline: the arm that the others are compared with.
    match: what is equal between the arms. "shape": nothing is adapted. "params": the parameters of the layers (body);
      "params_total": all parameters; both change the widths. "flops": FLOPs of the whole training; "time": seconds of
      stepping on this device; both change the steps.
    seeds: the reported runs of an arm have the seeds 0 … seeds − 1.
    tune: values to choose from for each arm, by dotted key; several keys multiply.
    tune_seeds: runs for each point of the grid, with seeds 1000, 1001, … that are never reported.
    tune_extend: how often a grid grows by a value where the best one lies at its edge.
    metric: SPLIT/NAME; the mean of the last `average` evaluations counts.
    average: evaluations.
    margin: the difference that matters.
    gate: nats by which every arm must be below the unigram loss before a verdict is given; 0 = no gate.
    analyses: of the final parameters of each arm's first seed: names of `ANALYSES`.
    published: numbers of a paper, by arm, and their "source".
  """

  name: str
  base: ml_collections.ConfigDict
  question: str = ""
  arms: dict[str, Overrides] = dataclasses.field(default_factory=dict)
  baseline: str = ""
  match: str = "shape"
  seeds: int = 3
  tune: dict[str, tuple] = dataclasses.field(default_factory=dict)
  tune_seeds: int = 1
  tune_extend: int = 1
  metric: str = "valid/mlm_loss"
  average: int = 3
  margin: float = 0.01
  gate: float = 0.5
  analyses: tuple[str, ...] = ()
  published: dict[str, str] = dataclasses.field(default_factory=dict)

  def check(self) -> None:
    """Raises InputError, naming the field, where the spec does not fit together."""
    if not self.arms or not all(name and not set(name) & set("/\\*?[]= ,") for name in self.arms):
      raise InputError(f"{self.name}: arms need names without / = , * ? [ ] or spaces, got {list(self.arms)}.")
    if self.baseline not in self.arms:
      raise unknown("baseline", self.baseline, self.arms)
    if self.match not in MATCHES:
      raise unknown("match", self.match, MATCHES)
    for name in self.analyses:
      if name not in ANALYSES:
        raise unknown("analysis", name, ANALYSES)
    for name, low in (("seeds", 1), ("tune_seeds", 1), ("tune_extend", 0), ("average", 1), ("margin", 0), ("gate", 0)):
      if getattr(self, name) < low:
        raise InputError(f"{self.name}: {name} must be at least {low}, got {getattr(self, name)}.")
    if self.seeds > TUNING_SEED:
      raise InputError(f"{self.name}: seeds must be at most {TUNING_SEED}, where the seeds of the tuning begin.")
    if "/" not in self.metric:
      raise InputError(f"{self.name}: metric must be SPLIT/NAME, such as valid/mlm_loss, got {self.metric}.")
    for key, values in self.tune.items():
      if len(set(values)) < 2:
        raise InputError(f"{self.name}: tune[{key!r}] needs at least two values, got {values}.")
    for name in self.arms:
      self.origins(name)

  def source_arm(self, arm: str) -> str:
    """The arm from whose runs an arm starts; "" where it starts from new parameters."""
    start = str(self.arms[arm].get("init_from", ""))
    return start.removeprefix(FROM_ARM) if start.startswith(FROM_ARM) else ""

  def origins(self, arm: str) -> list[str]:
    """The arm from whose runs an arm starts, the one from which that starts, and so on.

    Raises:
      InputError: one of them does not exist, or they go round in a circle.
    """
    found = [arm]
    while source := self.source_arm(found[-1]):
      if source not in self.arms or source in found:
        raise InputError(f"{self.name}: arm {found[-1]} starts from {source}, which must be another arm before it.")
      found.append(source)
    return found[1:]

  def tuning_seeds(self) -> range:
    """The seeds of the tuning runs."""
    return range(TUNING_SEED, TUNING_SEED + self.tune_seeds)

  @property
  def lower_is_better(self) -> bool:
    """Whether the metric is a loss."""
    return self.metric.endswith(("loss", "perplexity"))


def product(*factors: Mapping[str, Overrides]) -> dict[str, Overrides]:
  """Every combination of the arms of several sets, named "a-b"."""
  combined = {}
  for items in itertools.product(*(factor.items() for factor in factors)):
    names, overrides = builtins.zip(*items)
    combined["-".join(names)] = {key: value for part in overrides for key, value in part.items()}
  return combined


def zip(*factors: Mapping[str, Overrides]) -> dict[str, Overrides]:
  """The first arms of several sets together, the second ones together, …, named "a-b".

  Raises:
    InputError: the sets differ in length.
  """
  if len({len(factor) for factor in factors}) > 1:
    raise InputError(f"zip takes sets of arms of the same length, got {[len(factor) for factor in factors]}.")
  combined = {}
  for items in builtins.zip(*(factor.items() for factor in factors)):
    combined["-".join(name for name, _ in items)] = {key: value for _, part in items for key, value in part.items()}
  return combined


def load(value: str, overrides: Mapping[str, str] | None = None) -> Lab:
  """Reads `labs/NAME.py[:arguments]`, and sets keys of its base config.

  Args:
    value: path and arguments.
    overrides: texts by dotted key of the config.

  Raises:
    InputError: no such file or key, or the spec does not fit together.
  """
  lab = call_in_file(value, "get_lab", "lab")
  if not isinstance(lab, Lab):
    raise InputError(f"{value.partition(':')[0]}: get_lab must return a Lab, not {lab!r}.")
  lab.base = apply(lab.base, {key: _parse(key, text) for key, text in (overrides or {}).items()}, "--set")
  lab.check()
  return lab


def apply(config: ml_collections.ConfigDict, overrides: Overrides, where: str) -> ml_collections.ConfigDict:
  """A copy of a config with some of its keys set.

  Raises:
    InputError: a key is unknown, or its value not of the type; names `where`.
  """
  config = config.copy_and_resolve_references()
  known = flatten(config)
  for key, value in overrides.items():
    if key not in known:
      raise unknown(f"config key of {where}", key, known, listed_by="`python -m albert_jax.config`")
    try:
      config.update_from_flattened_dict({key: value})
    except (TypeError, ValueError) as error:
      raise InputError(f"{where}: {key} takes a {type(known[key]).__name__}, got {value!r}.") from error
  return config


def _parse(key: str, text: str) -> Any:
  kind = type(SCHEMA[key][0].default) if key in SCHEMA else str
  try:
    if kind is bool:
      return {"true": True, "false": False}[text.lower()]
    return tuple(text.split(",")) if kind is tuple else kind(text)
  except (ValueError, KeyError) as error:
    raise InputError(f"--set={key}={text}: {key} takes a {kind.__name__}.") from error


def to_record(lab: Lab) -> dict:
  """The spec as JSON data."""
  record = {field.name: getattr(lab, field.name) for field in dataclasses.fields(lab)}
  return json.loads(json.dumps({**record, "base": lab.base.to_dict()}))


def save(lab: Lab, workdir: str, **more: Any) -> None:
  """Writes `lab.json`, whole or not at all, with more entries beside the spec."""
  with new_file(Path(workdir) / FILE) as path:
    path.write_text(json.dumps({"spec": to_record(lab), **more}, indent=2) + "\n", encoding="utf-8")


def read(workdir: str) -> dict:
  """Reads `lab.json`.

  Raises:
    InputError: it is not there, or damaged.
  """
  path = Path(workdir) / FILE
  if not path.exists():
    raise InputError(f"{path} does not exist: --workdir must be the folder of a lab.")
  shape = {"spec": {"arms": {str: object}}, "plan": {"arms": object}}
  return read_json(path, shape, hint="Start the lab again in this folder, with --lab.")


def check_same(lab: Lab, workdir: str) -> None:
  """Compares the spec with that of the folder: what decides the runs that are there must not change.

  Arms, seeds and values of the grid may be added, and whatever only the report reads may change.

  Raises:
    InputError: something else differs.
  """
  if not (Path(workdir) / FILE).exists():
    return
  old, new = read(workdir)["spec"], to_record(lab)
  changed = [name for name in ("match", "baseline", "tune_seeds") if old[name] != new[name]]
  changed += [f"arms[{name}]" for name, arm in old["arms"].items() if name in new["arms"] and arm != new["arms"][name]]
  base = differences(*(ml_collections.ConfigDict(record["base"]) for record in (old, new)))
  changed += [f"{key} (was {a}, is now {b})" for key, (a, b) in base.items() if a is not None and not is_free(key)]
  if changed:
    raise InputError(f"{workdir} is another lab, it differs in {', '.join(changed)}: name a new --workdir.")
