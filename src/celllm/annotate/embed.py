"""`celllm.embed` and `celllm embed`: cells to vectors, all else as it was."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from celllm import __version__
from celllm.annotate import folder as folders
from celllm.annotate import quality, source, target
from celllm.annotate.cells import OwnCells, embed_piece, say
from celllm.annotate.folder import EncoderFolder
from celllm.annotate.source import Own
from celllm.bench.diagnostics import chosen_cells

if TYPE_CHECKING:
    import anndata as ad
    from numpy.typing import NDArray

KEY, UNS = "X_celllm", "celllm"
"""Where the embedding stands in `obsm`, and what made it in `uns`."""


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
    measured = quality.quality(np.concatenate(views), np.concatenate(depths))
    facts |= {"version": __version__, "encoder": encoder.facts, **own.facts(), "diagnostics": measured}
    lines += [*own.described(), *quality.described(measured)]
