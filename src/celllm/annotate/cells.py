"""One's own cells on an encoder's gene axis, in pieces, with what was found and lost on the way.

Shapes: C cells of a piece, N names of the source, G genes of the axis, D width.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy import sparse
from tqdm import tqdm

from celllm.annotate.folder import EncoderFolder
from celllm.annotate.source import Source
from celllm.config.units import Units
from celllm.harmonise.align import SPIKE_IN, Tally, to_vocabulary
from celllm.harmonise.counts import find_counts
from celllm.harmonise.harmonisation import Harmonisation
from celllm.harmonise.symbols import Mapping, SymbolIndex, map_names
from celllm.harmonise.vocabulary import Vocabulary
from celllm.model import inference
from celllm.model.device import device_of
from celllm.sources.archives import unreadable
from celllm.sources.readers.genes import INDEX, genes_of, naming
from celllm.sources.readers.h5ad import understood
from celllm.sources.values import check_values

ENOUGH_MAPPED, ENOUGH_NAMED = 0.8, 0.5
"""Shares of the counts, and of the encoder's genes, below which a user is warned."""
FEW_COUNTS = 100
"""Counts of a droplet below which it is taken to hold no cell, as DropletUtils does; a user is warned."""
MIN_MAPPED, MOST = 0.01, 0.5
"""Share of the counts below which names are no names of human genes, and above which they surely are."""
MIN_CALLED = 0.2
"""Share of cells called like genes from which on a matrix is taken to be transposed."""
NUMBERS = re.compile(r"entrez|ncbi|gene_?id", re.IGNORECASE)
"""Columns whose numbers are Entrez ids; other numbers, such as `n_cells`, only look so."""


class OwnCells:
    """Cells of a source: their counts found, their genes mapped to those of the encoder.

    `counts` and `genes` are the matrix and the column of `var` to take; None: found. InputError if they are not.
    """

    def __init__(
        self, source: Source, encoder: EncoderFolder, *, counts: str | None = None, genes: str | None = None
    ) -> None:
        self._source, self._encoder = source, encoder
        with understood(source.file):
            found = find_counts(
                {name: matrix for name, (matrix, _) in source.matrices.items()}, file=source.file, asked=counts
            )
        self.place, self.n_cells = found.place, found.n_cells
        """The matrix that holds counts, and its number of cells."""
        var = source.matrices[self.place][1]
        self._kept, others = genes_of(var)
        self.n_no_genes = sum(others.values())
        """Features that are no genes, such as antibodies; they are left out."""
        var = var.iloc[self._kept]
        self._is_gene_N = np.array([SPIKE_IN.fullmatch(str(name)) is None for name in var.index])
        weights_N = np.asarray(found.sample[:, self._kept].sum(axis=0, dtype=np.float64)).ravel() * self._is_gene_N
        self.column, self._mapping = map_genes(
            var,
            weights_N,
            index=encoder.index,
            vocabulary=encoder.vocabulary,
            file=source.file,
            asked=genes,
            cells=lambda: source.obs.index[:1000],
        )
        """The column of `var` that names the genes."""
        self._total_N = np.zeros(len(var))
        self.n_silent = 0
        """Cells without a count of the encoder's genes, of those that were read."""
        self.n_shallow = 0
        """Other cells of fewer than FEW_COUNTS counts."""

    def pieces(self, *, show: str | None = None) -> Iterator[sparse.csr_matrix]:
        """Yield counts, C x G, in the order of the source; `show` is what a progress bar is called."""
        self._total_N[:] = 0
        self.n_silent = self.n_shallow = 0
        with tqdm(total=self.n_cells, desc=show, unit=" cells", disable=None if show else True) as bar:
            for raw in self._source.pieces(self.place):
                raw = raw[:, self._kept] if self.n_no_genes else raw
                check_values(raw.data, Units.COUNTS, file=self._source.file, field=self.place)
                depths_C = np.asarray(raw.sum(axis=1, dtype=np.float64)).ravel()
                self.n_shallow += int(((depths_C > 0) & (depths_C < FEW_COUNTS)).sum())
                self._total_N += np.asarray(raw.sum(axis=0, dtype=np.float64)).ravel() * self._is_gene_N
                counts = to_vocabulary(raw, self._mapping, self._encoder.vocabulary.n_genes).astype(np.float32)
                counts.eliminate_zeros()
                self.n_silent += int((np.diff(counts.indptr) == 0).sum())
                yield counts
                bar.update(counts.shape[0])

    def counts(self, *, show: str | None = None) -> sparse.csr_matrix:
        """Return the counts of all cells."""
        return sparse.vstack(list(self.pieces(show=show)), format="csr")

    def harmonisation(self) -> Harmonisation:
        """Return what became of the names and of the counts that were read."""
        tally = Tally()
        tally.add(self._mapping, self._total_N)
        return tally.report(dataset=Path(self._source.file).stem, samples={}, threshold=ENOUGH_MAPPED)

    def facts(self) -> dict[str, Any]:
        """Return what was found, to be written beside what was made of it."""
        report = self.harmonisation()
        return {
            "counts": self.place,
            "genes": self.column,
            "mapped_share_of_counts": report.mapped_share_of_counts,
            "named_share_of_genes": self._named_share(),
            "silent_cells": self.n_silent,
        }

    def _named_share(self) -> float:
        named = np.unique(self._mapping.index_N[self._mapping.index_N >= 0])
        return len(named) / self._encoder.vocabulary.n_genes

    def described(self) -> list[str]:
        """Say what was found and lost, and warn where that is much."""
        report, named = self.harmonisation(), self._named_share()
        lines = [
            f"counts: {self.place}; gene names: {self.column}; {report.mapped} of {report.n_names} names mapped, "
            f"{report.mapped_share_of_counts:.1%} of the counts; {named:.1%} of the encoder's genes have a name"
        ]
        if self.n_no_genes:
            lines.append(f"{self.n_no_genes} features are no genes and are left out")
        if report.mapped_share_of_counts < ENOUGH_MAPPED:
            lost = ", ".join(f"{name} {share:.1%}" for name, share in report.top_lost[:5])
            lines.append(f"warning: the encoder does not know the genes of many counts; most lost: {lost}")
        if named < ENOUGH_NAMED:
            lines.append("warning: most genes of the encoder have no name in the file; give all genes, not chosen ones")
        if self.n_silent:
            lines.append(
                f"warning: {self.n_silent} cells have no count of the encoder's genes; their embedding is empty"
            )
        if self.n_shallow:
            lines.append(
                f"warning: {self.n_shallow} cells have 1 to {FEW_COUNTS - 1} counts, as empty droplets do; "
                "leave them out, or trust neither their embedding nor their label"
            )
        return lines


def map_genes(
    var: pd.DataFrame,
    weights_N: NDArray[np.float64],
    *,
    index: SymbolIndex,
    vocabulary: Vocabulary,
    file: str,
    asked: str | None = None,
    cells: Callable[[], Iterable[object]] = tuple,
) -> tuple[str, Mapping]:
    """Find the columns of `var` that name genes, and map its names; return both.

    Those that the workflow takes (ids and symbols together, so a retired id is found by its symbol) are tried first;
    where they map few of the genes' counts, `weights_N`, the column is taken by which most map. `asked` is the column
    to take alone; `index` is the index. InputError, of `file`, if there is no such column, or hardly any name is a
    human gene's. `cells` gives names of cells, to tell a matrix of genes x cells.
    """
    columns: dict[str, pd.Index[Any] | pd.Series[Any]] = {INDEX: var.index, **{str(name): var[name] for name in var}}
    if asked is not None and asked not in columns:
        expected, found = "the column that --genes names", f"the columns {', '.join(columns)}"
        raise unreadable(file, expected, found, field=f"var column {asked}", remedy="give one of them: --genes COLUMN")
    best: tuple[float, str, Mapping] | None = None
    for column, names in [naming(var), *_others(columns)] if asked is None else [(asked, _texts(columns[asked]))]:
        mapping = map_names(names, index, vocabulary)
        share = float(weights_N[mapping.index_N >= 0].sum()) / (float(weights_N.sum()) or 1.0)
        if best is None or share > best[0]:
            best = share, column, mapping
        if share > MOST:
            break
    if best is None or best[0] < MIN_MAPPED:
        expected, names = "symbols, Ensembl or Entrez ids of human genes", _texts(columns[asked or INDEX])
        remedy = "name the column of var that has them: --genes COLUMN; genes of another species: "
        remedy += "replace them by their human orthologues first"
        of_cells = [name for name in map(str, cells()) if not name.isdecimal()]
        if (map_names(of_cells, index, vocabulary).index_N >= 0).sum() > MIN_CALLED * len(of_cells):
            remedy = "the cells are called like genes: transpose it, anndata.read_h5ad(FILE).T.copy().write_h5ad(NEW)"
        field = f"gene names ({asked or INDEX})"
        raise unreadable(file, expected, ", ".join(names[:8]) or "no gene", field=field, remedy=remedy)
    return best[1], best[2]


def _others(columns: dict[str, pd.Index[Any] | pd.Series[Any]]) -> Iterator[tuple[str, list[str]]]:
    """Yield the columns whose values mostly differ, and are no plain numbers of another meaning than Entrez ids."""
    for column, values in columns.items():
        names = _texts(values)
        known = [name for name in names if name]
        are_numbers = 2 * sum(map(str.isdecimal, known)) > len(known)
        are_counted = known == [str(i) for i in range(len(known))]
        is_ids = (column == INDEX or NUMBERS.search(column) is not None) and not are_counted
        if len(set(known)) > MOST * len(names) and (is_ids or not are_numbers):
            yield column, names


def _texts(values: pd.Index[Any] | pd.Series[Any]) -> list[str]:
    """Return values as texts, "" where one is missing; Entrez ids with a gap are read as 672.0."""
    is_whole = pd.api.types.is_float_dtype(values.dtype)
    return ["" if pd.isna(value) else f"{value:.0f}" if is_whole else str(value).strip() for value in values]


def embed_piece(encoder: EncoderFolder, counts_CG: sparse.csr_matrix) -> NDArray[np.float32]:
    """Embed the cells of a piece, C x D."""
    return inference.embed_cells(
        encoder.pretrained, counts_CG, units=Units.COUNTS, device=device_of("auto", threads=torch.get_num_threads())
    )


def say(lines: Iterable[str], *, of: str = "") -> None:
    """Print what was found, of which cells; warnings go to standard error."""
    for line in lines:
        (sys.stderr if line.startswith("warning") else sys.stdout).write(f"{of and f'{of}: '}{line}\n")
