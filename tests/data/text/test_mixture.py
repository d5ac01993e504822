import pickle

import pytest

from albert_jax.data.text.sources import open_source
from albert_jax.errors import InputError


def texts(source):
  return [text for _, text in source.documents()]


def test_a_mixture_reads_a_share_of_each_source(tmp_path):
  for name in "ab":
    (tmp_path / f"{name}.txt").write_text("\n\n".join(f"{name}{number}" for number in range(1000)))
  a, b = f"files:{tmp_path}/a.txt", f"files:{tmp_path}/b.txt"
  mixture = open_source(f"{a} + 0.3*{b}")
  found = list(mixture.documents())
  assert [text for _, text in found[:1000]] == texts(open_source(a))
  assert 250 < len(found) - 1000 < 350
  assert len(dict(found)) == len(found)
  assert list(pickle.loads(pickle.dumps(mixture)).documents()) == found
  assert open_source(mixture.spec).fingerprint == mixture.fingerprint
  assert open_source(f"{a} + 0.4*{b}").fingerprint != mixture.fingerprint
  assert set(texts(open_source(f"0.3*{b}"))) == {text for _, text in found[1000:]}
  (tmp_path / "b.txt").write_text("changed")
  with pytest.raises(InputError, match=r"b\.txt changed while it was read"):
    mixture.check_unchanged()


@pytest.mark.parametrize("share", ["0", "1.5", "1.2.3", "0.0"])
def test_a_share_is_a_part(share):
  with pytest.raises(InputError, match=f"share {share} is no number above 0 and at most 1"):
    open_source(f"{share}*pydoc:optax")
