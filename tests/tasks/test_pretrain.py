from albert_jax.tasks import make_task, pretrain
from tests.conftest import override


def test_the_fingerprint_stands_for_the_text_and_for_the_way_rows_are_made(tiny_config, monkeypatch):
  first = make_task(tiny_config).load_data().fingerprint
  assert make_task(tiny_config).load_data().fingerprint == first
  monkeypatch.setattr(pretrain, "ROWS_ALGORITHM", pretrain.ROWS_ALGORITHM + 1)
  assert make_task(tiny_config).load_data().fingerprint != first
  monkeypatch.undo()
  longer = override(tiny_config.copy_and_resolve_references(), {"data.short_seq_prob": 0.5})
  assert make_task(longer).load_data().fingerprint != first
