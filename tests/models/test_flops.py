import pytest

from albert_jax.models.flops import flops_per_token
from albert_jax.models.sizes import ALBERT, BERT
from tests.models.test_sizes import make_config


@pytest.mark.parametrize(
  ("size", "length", "gigaflops"),
  [  # 3·[L(24D² + 4·T·D) + head over 15% of the positions], worked out by hand
    (BERT["base"], 128, 0.545),
    (BERT["base"], 512, 0.588),
    (BERT["large"], 128, 1.879),
    (ALBERT["base"], 512, 0.570),
    (ALBERT["large"], 512, 1.967),
    (ALBERT["xxlarge"], 128, 14.58),
  ],
)
def test_known_figures(size, length, gigaflops):
  config = make_config(size, "all", "none")
  flops = flops_per_token(config, length=length, predictions=round(0.15 * length))
  assert flops / 1e9 == pytest.approx(gigaflops, rel=2e-3)
