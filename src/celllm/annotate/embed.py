"""`celllm.embed` and `celllm embed`: cells to vectors, all else as it was; and what the vectors are worth.

Shapes: N cells, C of a piece, D width.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from celllm import __version__
from celllm.annotate import folder as folders
from celllm.annotate import source, target
from celllm.annotate.cells import OwnCells, embed_piece, say
from celllm.annotate.folder import EncoderFolder
from celllm.annotate.source import Own
from celllm.bench.diagnostics import chosen_cells
from celllm.pretrain.diagnostics import effective_rank, mean_cosine

if TYPE_CHECKING:
    import anndata as ad
    from numpy.typing import NDArray

KEY, UNS = "X_celllm", "celllm"
"""Where the embedding stands in `obsm`, and what made it in `uns`."""
MAX_COSINE, MIN_RANK = 0.95, 3.0
"""Beyond these a user is warned: our choice."""


def embed(
    cells: Own,
    out: Path | str | None = None,
    *,
    encoder: Path | str | None = None,
    counts: str | None = None,
    genes: str | None = None,
) -> ad.AnnData | Path:
    """Embed cells with a pretrained encoder, which stays as it is.

    Nothing is changed but what is added: `obsm["X_celllm"]`, cells x width, float32; and `uns["celllm"]`, what was
    done: version, encoder and its digests, matrix of counts, column of gene names, shares that were mapped, and the
    diagnostics that are printed.

    Parameters
    ----------
    cells
        Human cells, with raw counts in X, raw or a layer, and symbols, Ensembl or Entrez ids as the index or a column
        of `var`. All genes: an encoder asks for more than the highly variable ones. An h5ad file, of which memory holds
        a piece; in Python an AnnData object too.
    out
        For a file: the copy of it that gets the embedding.
    encoder
        An encoder's folder; by default the one in the package.
    counts
        The matrix of counts: `X`, `raw` or `layers:NAME`; by default found by its values.
    genes
        The column of `var` that names genes, or `index`; by default found by its names.

    Returns
    -------
    anndata.AnnData | Path
        The same object, or `out`.

    Raises
    ------
    InputError
        If counts or gene names are not found; the message says what was looked at and what to type.

    Examples
    --------
    >>> celllm.embed(adata)  # doctest: +SKIP
    >>> scanpy.pp.neighbors(adata, use_rep="X_celllm")  # doctest: +SKIP
    """
    target.check_out(cells, out)
    found = folders.read(encoder)
    with source.opened(cells) as opened:
        own = OwnCells(opened, found, counts=counts, genes=genes)
        lines: list[str] = []
        facts: dict[str, Any] = {}
        with target.adding(cells, out) as made:
            shape = own.n_cells, found.pretrained.encoder.embedding_width
            target.put_rows(made, KEY, _embedded(own, found, lines, facts), shape=shape)
            target.put(made, "uns", UNS, facts)
    say(lines)
    return cells if out is None else Path(out)


def _embedded(
    own: OwnCells, encoder: EncoderFolder, lines: list[str], facts: dict[str, Any]
) -> Iterator[NDArray[np.float32]]:
    """Yield embeddings piece by piece; once they are through, `lines` says how it went and `facts` what was done."""
    chosen = chosen_cells(own.n_cells)
    views, depths, start = [], [], 0
    for counts_CG in own.pieces(show="embed"):
        z_CD = embed_piece(encoder, counts_CG)
        rows = chosen[(chosen >= start) & (chosen < start + len(z_CD))] - start
        views.append(z_CD[rows])
        depths.append(np.asarray(counts_CG[rows].sum(axis=1, dtype=np.float64)).ravel())
        start += len(z_CD)
        yield z_CD
    measured = quality(np.concatenate(views), np.concatenate(depths))
    facts |= {"version": __version__, "encoder": encoder.facts, **own.facts(), "diagnostics": measured}
    lines += [*own.described(), *described(measured)]


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
