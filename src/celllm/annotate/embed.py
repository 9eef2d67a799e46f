"""`celllm.embed` and `celllm embed`: cells to vectors, all else as it was."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from celllm import __version__
from celllm.annotate import folder as folders
from celllm.annotate import quality, source
from celllm.annotate.cells import OwnCells, embed_piece
from celllm.annotate.folder import EncoderFolder
from celllm.base.atomic import writing
from celllm.base.errors import InputError

if TYPE_CHECKING:
    import anndata as ad
    import pandas as pd
    from numpy.typing import NDArray

KEY, UNS = "X_celllm", "celllm"
"""Where the embedding stands in `obsm`, and what made it in `uns`."""


def embed(
    adata: ad.AnnData, *, encoder: Path | str | None = None, counts: str | None = None, genes: str | None = None
) -> ad.AnnData:
    """Embed cells with a pretrained encoder, which stays as it is.

    Nothing of the object is changed but what is added: `obsm["X_celllm"]`, cells x width, float32; and
    `uns["celllm"]`, what was done: version, encoder and its digests, matrix of counts, column of gene names, shares
    that were mapped, and the diagnostics that are printed.

    Parameters
    ----------
    adata
        Human cells, with raw counts in X, raw or a layer, and symbols, Ensembl or Entrez ids as the index or a column
        of `var`. All genes: an encoder asks for more than the highly variable ones.
    encoder
        An encoder's folder; None: the one in the package.
    counts
        The matrix of counts: `X`, `raw` or `layers:NAME`; None: found by its values.
    genes
        The column of `var` that names genes, or `index`; None: found by its names.

    Returns
    -------
    anndata.AnnData
        The same object.

    Raises
    ------
    InputError
        If counts or gene names are not found; the message says what was looked at and what to type.

    Examples
    --------
    >>> celllm.embed(adata)  # doctest: +SKIP
    >>> scanpy.pp.neighbors(adata, use_rep="X_celllm")  # doctest: +SKIP
    """
    found = folders.read(encoder)
    own = OwnCells(source.of_anndata(adata), found, counts=counts, genes=genes)
    lines: list[str] = []
    facts: dict[str, Any] = {}
    pieces = list(embedded(own, found, lines, facts))
    adata.obsm[KEY] = np.concatenate(pieces)
    adata.uns[UNS] = facts
    sys.stderr.write("".join(f"{line}\n" for line in lines))
    return adata


def embed_file(path: Path, out: Path, *, encoder: Path | None, counts: str | None, genes: str | None) -> list[str]:
    """Embed the cells of an h5ad file into a copy of it; memory holds a piece. Return what is to be said.

    Whatever the file holds, known to this AnnData or not, is copied as it is. Parameters and errors as of `embed`.
    """
    refuse_same(path, out)
    found = folders.read(encoder)
    with source.of_file(path) as cells:
        own = OwnCells(cells, found, counts=counts, genes=genes)
        lines: list[str] = []
        facts: dict[str, Any] = {}
        with copied(path, out) as file:
            store = _dataset(file, own.n_cells, found.pretrained.encoder.width)
            start = 0
            for z_CD in embedded(own, found, lines, facts):
                store[start : start + len(z_CD)] = z_CD
                start += len(z_CD)
            put(file, "uns", UNS, facts)
    return lines


def embedded(
    own: OwnCells, encoder: EncoderFolder, lines: list[str], facts: dict[str, Any]
) -> Iterator[NDArray[np.float32]]:
    """Yield embeddings piece by piece; once they are through, `lines` says how it went and `facts` what was done."""
    chosen = quality.looked_at(own.n_cells)
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


@contextmanager
def copied(path: Path, out: Path) -> Iterator[h5py.File]:
    """Yield a copy of an h5ad file to be added to; it takes its name when all is in it, on any failure there is none.

    InputError if it would replace its original.
    """
    refuse_same(path, out)
    with writing(out) as part:
        shutil.copyfile(path, part)
        with h5py.File(part, "r+") as file:
            yield file


def refuse_same(path: Path, out: Path) -> None:
    """Raise InputError if a file would replace its original."""
    if out.exists() and path.exists() and out.samefile(path):
        raise InputError(
            file=out,
            field="out",
            expected="another file than the input, which stays as it is",
            found="the input",
            remedy=f"name another one: -o {path.stem}.celllm.h5ad",
        )


def put(file: h5py.File, group: str, key: str, value: Mapping[str, Any] | NDArray[Any] | pd.Categorical[Any]) -> None:
    """Write an element of obsm, uns …, in place of one of that name."""
    import anndata as ad

    if group not in file:
        ad.io.write_elem(file, group, {})
    ad.io.write_elem(file[group], key, value)


def _dataset(file: h5py.File, n_cells: int, width: int) -> h5py.Dataset:
    """Return the embedding, still empty."""
    put(file, "obsm", KEY, np.empty((0, width), dtype=np.float32))
    encoding = dict(file["obsm"][KEY].attrs)
    del file["obsm"][KEY]
    made = file["obsm"].create_dataset(KEY, shape=(n_cells, width), dtype=np.float32)
    made.attrs.update(encoding)
    return made
