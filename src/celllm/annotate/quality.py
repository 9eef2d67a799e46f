"""What embeddings are worth, asked of them without a label. Shapes: N cells, D width."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from celllm.pretrain.diagnostics import effective_rank, mean_cosine

MAX_COSINE, MIN_RANK = 0.95, 3.0
"""Beyond these a user is warned: our choice."""


def quality(z_ND: NDArray[np.float32], depths_N: NDArray[np.float64]) -> dict[str, float]:
    """Measure how spread out embeddings are, and how much of them is sequencing depth, the counts of each cell.

    mean_cosine (1: all point the same way), effective_rank (1 to D) and r2_of_depth: the share of the variance of
    log counts that a linear model of the embedding explains in the half of the cells it was not fitted to; at most 1,
    and 0 where it does no better than their mean. Nan where there are too few cells.
    """
    z = torch.from_numpy(np.asarray(z_ND, dtype=np.float64))
    if len(z) < 2:
        return dict.fromkeys(("mean_cosine", "effective_rank", "r2_of_depth"), float("nan"))
    return {
        "mean_cosine": mean_cosine(z),
        "effective_rank": effective_rank(z),
        "r2_of_depth": _r2(z.numpy(), np.log1p(depths_N)),
    }


def _r2(x_ND: NDArray[np.float64], y_N: NDArray[np.float64]) -> float:
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rows = np.random.default_rng(0).permutation(len(y_N))
    taught, asked = rows[: len(rows) // 2], rows[len(rows) // 2 :]
    variance = float(y_N[asked].var())
    if len(taught) < 10 or variance == 0:
        return float("nan")
    model = make_pipeline(StandardScaler(), RidgeCV(alphas=np.logspace(-2, 4, 7))).fit(x_ND[taught], y_N[taught])
    return max(0.0, 1 - float(np.square(y_N[asked] - model.predict(x_ND[asked])).mean()) / variance)


def described(found: Mapping[str, float]) -> list[str]:
    """Say it in one line, and warn of what is beyond the limits."""
    cosine, rank, r2 = (found[name] for name in ("mean_cosine", "effective_rank", "r2_of_depth"))
    lines = [f"embedding: mean cosine {cosine:.3f}, effective rank {rank:.1f}, R² of depth {r2:.2f}"]
    if cosine > MAX_COSINE or rank < MIN_RANK:
        lines.append("warning: the embedding has collapsed, cells hardly differ in it; use another encoder, or PCA")
    return lines
