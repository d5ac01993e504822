import pytest

from albert_jax.errors import InputError
from albert_jax.interop.huggingface import import_huggingface
from albert_jax.tasks.settings import RUNTIME
from albert_jax.training.init_from import pretrained_of_run
from tests.interop.conftest import assert_equal, make_torch


@pytest.fixture
def albert(save):
  return save(make_torch("AlbertForPreTraining"), "albert")


def test_workdir_holds_the_same_model(albert, tmp_path):
  found = import_huggingface(str(albert), str(tmp_path / "run"))
  start = pretrained_of_run(str(tmp_path / "run"))
  assert_equal(start.restore(start.specs), found.params)
  assert (start.task, start.step, start.tokenizer) == ("pretrain", 0, "")
  known = found.model | RUNTIME
  sharing = known.pop("sharing")
  assert {name: start.model[name] for name in known} == known
  assert {name: scheme for name, scheme in start.model["sharing"].items() if scheme} == sharing


def test_refuses_a_workdir_in_use(albert, tmp_path):
  (tmp_path / "run" / "checkpoints").mkdir(parents=True)
  with pytest.raises(InputError, match="not empty"):
    import_huggingface(str(albert), str(tmp_path / "run"))


def test_nothing_half_written(albert, tmp_path, monkeypatch):
  monkeypatch.setattr("albert_jax.interop.huggingface.Checkpoints.save", lambda *_: 1 / 0)
  with pytest.raises(ZeroDivisionError):
    import_huggingface(str(albert), str(tmp_path / "run"))
  assert [path.name for path in tmp_path.iterdir()] == ["albert"]
