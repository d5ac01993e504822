import numpy as np
import pytest

from albert_jax.analysis.similarity import cka, cka_matrix, cosine_matrix, effective_rank

WIDTH = 24
TOKENS = 10 * WIDTH


def noise(seed: int, tokens: int = TOKENS, width: int = WIDTH) -> np.ndarray:
  return np.random.default_rng(seed).normal(size=(tokens, width))


def rotation(seed: int) -> np.ndarray:
  return np.linalg.qr(noise(seed, WIDTH))[0]


def test_cka_of_a_rotation_scaling_and_shift_is_one():
  x_ND = noise(0) * np.linspace(0.1, 3, WIDTH)
  assert cka(x_ND, 5 * x_ND @ rotation(1) + 100) == pytest.approx(1, abs=1e-9)


def test_cka_of_independent_noise_is_about_zero():
  values = [cka(noise(2 * seed), noise(2 * seed + 1)) for seed in range(20)]
  assert np.abs(values).max() < 0.05
  assert abs(np.mean(values)) < 0.01


def test_cka_is_unbiased_where_tokens_are_few():
  """The plain estimate is about 0.5 here."""
  values = [cka(noise(2 * seed, WIDTH), noise(2 * seed + 1, WIDTH)) for seed in range(50)]
  assert abs(np.mean(values)) < 0.03


def test_cka_equals_the_estimate_by_its_gram_matrices():
  x_ND, y_NE = noise(0, 30), noise(0, 30)[:, :5] + noise(1, 30, 5)

  def hsic(x, y):
    n = len(x)
    k, other = x @ x.T, y @ y.T
    np.fill_diagonal(k, 0)
    np.fill_diagonal(other, 0)
    product = k @ other
    return np.trace(product) + k.sum() * other.sum() / ((n - 1) * (n - 2)) - 2 * product.sum() / (n - 2)

  expected = hsic(x_ND, y_NE) / np.sqrt(hsic(x_ND, x_ND) * hsic(y_NE, y_NE))
  assert 0.1 < expected < 0.9
  assert cka(x_ND, y_NE) == pytest.approx(expected, rel=1e-9)


def test_a_matrix_of_depths():
  x_LND = np.stack([noise(0), noise(0) @ rotation(3), noise(1)])
  cka_LL, cosine_LL = cka_matrix(x_LND), cosine_matrix(x_LND)
  np.testing.assert_allclose(np.diag(cka_LL), 1)
  np.testing.assert_allclose(cka_LL, cka_LL.T)
  assert cka_LL[0, 1] == pytest.approx(1)
  assert cka_LL[0, 2] == pytest.approx(cka(x_LND[0], x_LND[2]))
  np.testing.assert_allclose(np.diag(cosine_LL), 1)
  assert abs(cosine_LL[0, 1]) < 0.5  # a rotation is another vector
  cosines_N = np.sum(x_LND[0] * x_LND[2], axis=1) / np.linalg.norm(x_LND[0], axis=1) / np.linalg.norm(x_LND[2], axis=1)
  assert cosine_LL[0, 2] == pytest.approx(cosines_N.mean())


def test_what_does_not_vary_has_no_alignment():
  assert np.isnan(cka(np.ones((10, 3)), noise(0, 10)))
  with pytest.raises(ValueError, match="at least 4"):
    cka(noise(0, 3), noise(1, 3))


@pytest.mark.parametrize("rank", [1, 3, WIDTH])
def test_effective_rank_counts_equal_directions(rank):
  directions = np.linalg.qr(noise(0))[0][:, :rank] @ rotation(1)[:rank]  # orthonormal columns, almost centred
  assert effective_rank(directions + 7) == pytest.approx(rank, rel=0.02)


def test_effective_rank_between_and_at_the_limits():
  x_ND = np.zeros((4, 2))
  x_ND[:2, 0], x_ND[2:, 1] = (3, -3), (1, -1)  # variances 9 : 1
  assert effective_rank(x_ND) == pytest.approx(np.exp(-0.9 * np.log(0.9) - 0.1 * np.log(0.1)))
  assert effective_rank(np.ones((5, 3))) == 1
