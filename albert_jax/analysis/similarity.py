"""How alike and how rich the representations at different depths are: pure functions of arrays of token vectors.

Computed in float64 on the host: differences of large sums decide whether noise comes out as zero.
"""

import numpy as np


def cka(x_ND: np.ndarray, y_NE: np.ndarray) -> float:
  """Linear centred kernel alignment of two sets of vectors for the same N tokens (arXiv 1905.00414).

  It is 1 where one is a rotation and scaling of the other. With the unbiased estimate of HSIC (Song et al. 2012;
  arXiv 2010.15327, section 2.1) it is 0 on average for independent vectors, whatever N is; the plain estimate is near 1
  for noise where N is about the width. It may come out a little below 0.

  Returns:
    The alignment; NaN where either set does not vary.

  Raises:
    ValueError: fewer than 4 tokens, or not as many in both.
  """
  x_ND, y_NE = _centred(x_ND), _centred(y_NE)
  if len(x_ND) != len(y_NE) or len(x_ND) < 4:
    raise ValueError(f"CKA needs at least 4 vectors, as many in both sets; got {len(x_ND)} and {len(y_NE)}.")
  return _ratio(_hsic(x_ND, y_NE), _hsic(x_ND, x_ND), _hsic(y_NE, y_NE))


def cka_matrix(x_LND: np.ndarray) -> np.ndarray:
  """[L, L], `cka` between every two depths."""
  centred = [_centred(x_ND) for x_ND in x_LND]
  hsic_LL = np.array([[_hsic(x_ND, y_ND) for y_ND in centred] for x_ND in centred])
  own_L, depths = np.diag(hsic_LL), range(len(x_LND))
  return np.array([[_ratio(hsic_LL[a, b], own_L[a], own_L[b]) for b in depths] for a in depths])


def cosine_matrix(x_LND: np.ndarray) -> np.ndarray:
  """[L, L], the mean cosine between a token's vectors at every two depths; 1 off the diagonal marks a fixed point."""
  full_LND = np.asarray(x_LND, np.float64)
  unit_LND = full_LND / np.maximum(np.linalg.norm(full_LND, axis=-1, keepdims=True), np.finfo(np.float64).tiny)
  return np.einsum("lnd,mnd->lm", unit_LND, unit_LND, optimize=True) / x_LND.shape[1]


def effective_rank(x_ND: np.ndarray) -> float:
  """e to the entropy of the normalised squared singular values of the centred vectors: between 1 and D.

  The measure of Roy and Vetterli (EUSIPCO 2007), of variances in place of singular values. 1 where nothing varies.
  """
  centred_ND = _centred(x_ND)
  variances_D = np.maximum(np.linalg.eigvalsh(centred_ND.T @ centred_ND), 0)
  if not variances_D.sum() > 0:
    return 1.0
  shares_D = variances_D / variances_D.sum()
  return float(np.exp(-np.sum(shares_D * np.log(np.where(shares_D > 0, shares_D, 1)))))


def _centred(x_ND: np.ndarray) -> np.ndarray:
  full_ND = np.asarray(x_ND, np.float64)
  return full_ND - full_ND.mean(axis=0)


def _ratio(hsic: float, own_x: float, own_y: float) -> float:
  return hsic / np.sqrt(own_x * own_y) if own_x > 0 and own_y > 0 else np.nan


def _hsic(x_ND: np.ndarray, y_NE: np.ndarray) -> float:
  """Unbiased HSIC with linear kernels, by N·D·E operations: no N × N matrix is made.

  With K = XXᵀ and L = YYᵀ, their diagonals set to 0: (tr KL + 1ᵀK1·1ᵀL1 / (N−1)(N−2) − 2/(N−2)·1ᵀKL1) / N(N−3).
  """
  count = len(x_ND)
  diagonal_x_N, diagonal_y_N = np.sum(x_ND**2, axis=1), np.sum(y_NE**2, axis=1)
  rows_x_N = x_ND @ x_ND.sum(axis=0) - diagonal_x_N  # K1
  rows_y_N = y_NE @ y_NE.sum(axis=0) - diagonal_y_N
  trace = np.sum((x_ND.T @ y_NE) ** 2) - diagonal_x_N @ diagonal_y_N
  product = rows_x_N.sum() * rows_y_N.sum() / ((count - 1) * (count - 2))
  return float(trace + product - 2 / (count - 2) * (rows_x_N @ rows_y_N)) / (count * (count - 3))
