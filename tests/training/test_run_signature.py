import json

import pytest

from albert_jax.config import differences
from albert_jax.errors import InputError
from albert_jax.training.run_signature import FILE, check_allowed, check_signature, save_signature
from albert_jax.training.task import TaskData
from tests.builders import override


class Tokenizer:
  fingerprint = "letters"


DATA = TaskData(None, {}, "wiki", Tokenizer())


@pytest.fixture
def config():
  from configs import albert_tiny

  return albert_tiny.get_config("test")


@pytest.fixture
def workdir(config, tmp_path) -> str:
  save_signature(str(tmp_path), config, DATA)
  return str(tmp_path)


def changed(config, **values):
  return override(config.copy_and_resolve_references(), values)


def test_the_same_run_goes_on(config, workdir):
  assert check_signature(workdir, config, DATA) == {}


def test_what_defines_the_run_is_refused_by_name(config, workdir):
  values = {"seed": 1, "model.dropout": 0.3, "model.sharing.attn": "none", "train.steps": 99, "train.microbatches": 2}
  values |= {"data.mask_rate": 0.3, "optimizer.beta1": 0.5, "eval.metric": "mlm_accuracy", "init_from": "runs/other"}
  with pytest.raises(InputError) as error:
    check_signature(workdir, changed(config, **values), DATA)
  for key, (old, new) in differences(config, changed(config, **values)).items():
    assert f"{key} was {old!r}, it is now {new!r}" in str(error.value)
  assert f"--allow_changes={','.join(sorted(values))}" in str(error.value)


def test_where_and_how_fast_it_runs_is_free(config, workdir):
  values = {"mesh.fsdp": 4, "checkpoint.every": 7, "checkpoint.keep": 9, "name": "other", "model.remat": "full"}
  values |= {"train.log_every": 9, "train.timeout": 5, "eval.batch_size": 3, "data.workers": 2, "data.cache_dir": "x"}
  values |= {"data.source": "files:moved.txt"}
  assert check_signature(workdir, changed(config, **values), DATA) == {}


def test_only_what_is_allowed_may_change(config, workdir):
  values = {"seed": 1, "train.steps": 99}
  with pytest.raises(InputError, match=r"--allow_changes=train\.steps$"):
    check_signature(workdir, changed(config, **values), DATA, ["seed"])
  changes = check_signature(workdir, changed(config, **values), DATA, ["seed", "train.steps"])
  assert changes == {"seed": (0, 1), "train.steps": (6, 99)}


@pytest.mark.parametrize("name", ["data", "tokenizer"])
def test_other_data_is_refused(config, workdir, name):
  other = Tokenizer()
  other.fingerprint = "other"
  data = TaskData(None, {}, *(("other", Tokenizer()) if name == "data" else ("wiki", other)))
  with pytest.raises(InputError, match=rf"{name} was '\w+', it is now 'other'[^$]*--allow_changes={name}$"):
    check_signature(workdir, config, data)
  assert set(check_signature(workdir, config, data, [name])) == {name}


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe\x00"])
@pytest.mark.parametrize("file", ["config.json", FILE])
def test_a_damaged_file_is_named(config, workdir, tmp_path, file, content):
  (tmp_path / file).write_bytes(content)
  with pytest.raises(InputError, match=f"{file} is damaged"):
    check_signature(workdir, config, DATA)


def test_a_missing_file_is_no_licence(config, workdir, tmp_path):
  (tmp_path / FILE).unlink()
  with pytest.raises(InputError, match=r"--allow_changes=data,tokenizer$"):
    check_signature(workdir, config, DATA)
  assert check_signature(workdir, config, DATA, ["data", "tokenizer"])["data"] == (None, "wiki")


def test_what_is_saved_replaces_the_file_whole(config, workdir, tmp_path):
  assert json.loads((tmp_path / FILE).read_text()) == {"data": "wiki", "tokenizer": "letters"}
  assert not list(tmp_path.glob("*.tmp"))


def test_unknown_fields_cannot_be_allowed(config):
  check_allowed(config, ["train.steps", "data", "model.sharing.attn"])
  with pytest.raises(InputError, match=r'Did you mean "train\.steps"'):
    check_allowed(config, ["train.step"])
