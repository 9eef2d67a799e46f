"""A dataset's cells onto the vocabulary's axis, piece by piece: names mapped, shallow cells dropped, all accounted for.

Shapes: C cells of a piece, N names of its file, G vocabulary genes.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy import sparse

from celllm.config.tables import Dataset
from celllm.config.units import Units
from celllm.harmonise.harmonisation import Harmonisation, SampleCells
from celllm.harmonise.quality import cell_hashes, n_expressed
from celllm.harmonise.symbols import MAPPED_ROUTES, UNMAPPED_ROUTES, Mapping, SymbolIndex, map_names
from celllm.harmonise.vocabulary import Vocabulary
from celllm.sources.archives import unreadable
from celllm.sources.readers.cells import RawCells, TumourRule, annotate, columns_asked
from celllm.sources.values import check_values, dtype_of

SPIKE_IN = re.compile(r"ERCC-\d+|__\w+|N_(unmapped|multimapping|noFeature|ambiguous)")
"""ERCC spike-ins, and rows that HTSeq and STAR add: no genes of the cell, so no counts that could be lost."""
MOUSE = re.compile(r"ENS[A-Z]+G\d.*|[A-Z][a-z]+[a-z\d-]*\d*|mm10_.*|GRCm39_.*")
"""Other species' ids, and symbols as mouse and rat have them: Cd3d."""
N_TOP_LOST = 10
N_LOOKED_AT = 200
"""Cells whose names are looked at for what went wrong."""
MAX_CONFLICTS = 0.05
"""Largest share of a file's Ensembl ids whose symbol is another gene's; annotations of two years differ in few."""
NAMES = "gene names"
FATES = ("kept", "empty", "too_few_genes")
"""What becomes of a cell, in the order of `SampleCells`."""
ROUTES = (*MAPPED_ROUTES, *UNMAPPED_ROUTES)


class Tally:
    """Names of a dataset's files and their counts, by the route on which they map or do not."""

    def __init__(self) -> None:
        self._n_names = dict.fromkeys(ROUTES, 0)
        self._counts = dict.fromkeys(ROUTES, 0.0)
        self._lost: dict[str, float] = {}
        self._n_merged = 0

    def add(self, mapping: Mapping, total_N: np.ndarray) -> None:
        """Add a file's names, and the counts of each."""
        codes = np.array([ROUTES.index(route) for route in mapping.routes], dtype=np.int64)
        n_names, counts = (np.bincount(codes, weights=of, minlength=len(ROUTES)) for of in (None, total_N))
        for code, route in enumerate(ROUTES):
            self._n_names[route] += int(n_names[code])
            self._counts[route] += float(counts[code])
        is_mapped = mapping.index_N >= 0
        self._n_merged += int(is_mapped.sum()) - len(np.unique(mapping.index_N[is_mapped]))
        for i in np.flatnonzero(~is_mapped & (total_N > 0)):
            self._lost[mapping.names[i]] = self._lost.get(mapping.names[i], 0.0) + float(total_N[i])

    def report(self, **rest: Any) -> Harmonisation:  # noqa: ANN401 - fields of it
        """Sum up; the `rest` of the report is only written down."""
        total = sum(self._counts.values())
        shares = {route: self._counts[route] / total if total else 0.0 for route in ROUTES}
        top = sorted(self._lost.items(), key=lambda item: (-item[1], item[0]))[:N_TOP_LOST]
        return Harmonisation(
            n_names=sum(self._n_names.values()),
            mapped=sum(self._n_names[route] for route in MAPPED_ROUTES),
            ambiguous=self._n_names["ambiguous"],
            lost=self._n_names["outside_vocabulary"] + self._n_names["unknown"],
            merged=self._n_merged,
            mapped_share_of_counts=sum(shares[route] for route in MAPPED_ROUTES),
            by_route=dict(self._n_names),
            share_by_route=shares,
            top_lost=[(name, counts / total) for name, counts in top],
            **rest,
        )


class Aligner:
    """Takes a dataset's pieces in turn and remembers what became of names and cells.

    Memory holds one piece, one mapping and a few numbers a name and a sample. `malignancy_rule` is the rule of
    sources.readers.cells.annotate.
    """

    def __init__(
        self,
        dataset: Dataset,
        *,
        index: SymbolIndex,
        vocabulary: Vocabulary,
        malignancy_rule: str = "metadata",
    ) -> None:
        self.units = Units(dataset.units or "counts")
        self.is_named = np.zeros(vocabulary.n_genes, dtype=bool)
        """Which genes some name of the source means."""
        self._dataset, self._index, self._vocabulary, self._rule = dataset, index, vocabulary, malignancy_rule
        self._file = dataset.dataset
        self._names: Sequence[str] = ()
        self._mapping = Mapping([], np.empty(0, dtype=np.int64), [])
        self._weight_N = self._total_N = np.empty(0)
        self._tally = Tally()
        self._cells: dict[str, Counter[str]] = {}
        self._left_out: dict[str, int] = {}
        self._barcodes: list[str] = []
        self._missing = dict.fromkeys(columns_asked(dataset, rule=malignancy_rule), 0)
        self._tumour = TumourRule(dataset) if "is_malignant" in self._missing else None

    def add(self, raw: RawCells) -> tuple[sparse.csr_matrix, pd.DataFrame]:
        """Move a piece onto the axis: kept cells x genes, and their columns of harmonise/cells.py, by cell id.

        InputError if a column that the dataset's row names is missing, or names of one gene sum to more than 32 bits.
        """
        self._file = str(raw.file)
        self._barcodes = self._barcodes or [str(name) for name in raw.obs.index[:N_LOOKED_AT]]
        if raw.names is not self._names:
            self._begin_file(raw.names)
        self._left_out |= {kind: max(n, self._left_out.get(kind, 0)) for kind, n in raw.left_out.items()}
        n_genes = n_expressed(raw.matrix)
        is_kept = n_genes >= self._dataset.min_genes
        obs = annotate(raw, self._dataset, rule=self._rule)
        if self._tumour is not None:
            self._tumour.see(raw)
        self._count_cells(obs["sample"], n_genes, is_kept)
        kept = raw.matrix if is_kept.all() else raw.matrix[np.flatnonzero(is_kept)]
        if self.units.is_proportional:
            self._total_N += self._weight_N * np.asarray(kept.sum(axis=0, dtype=np.float64)).ravel()
        how: Literal["sum", "mean"] = "sum" if self.units.is_proportional else "mean"
        matrix = to_vocabulary(kept, self._mapping, self._vocabulary.n_genes, combine=how)
        what = "counts of one gene, summed over its names"
        check_values(matrix.data, self.units, file=raw.file, field=what, is_source=False)
        matrix = matrix.astype(dtype_of(self.units))
        sample = f"{raw.sample}:" if raw.sample is not None else ""
        obs = obs[is_kept]
        for column in self._missing:
            self._missing[column] += int((obs[column] == (-1 if column == "is_malignant" else "")).sum())
        return matrix, obs.assign(
            n_counts=np.asarray(matrix.sum(axis=1), dtype=np.float64).ravel(),
            n_genes=n_expressed(matrix),
            cell_hash=cell_hashes(matrix),
        ).set_axis([f"{self._dataset.dataset}:{sample}{name}" for name in obs.index])

    def report(self, *, threshold: float) -> Harmonisation:
        """Sum up; InputError if less than `threshold` of the counts has landed on the axis, or no cell is left."""
        self._begin_file(())
        report = self._tally.report(
            dataset=self._dataset.dataset,
            samples={name: SampleCells(*(found[fate] for fate in FATES)) for name, found in self._cells.items()},
            threshold=threshold,
            missing=self._missing,
            left_out=self._left_out,
        )
        self._check(report)
        if self._tumour is not None:
            self._tumour.check()
        return report

    def _begin_file(self, names: Sequence[str]) -> None:
        """Settle the file before, and map the next one's names; files of equal names share a mapping."""
        self._tally.add(self._mapping, self._total_N)
        if list(names) != self._mapping.names:
            _check_names(names, file=self._file)
            self._mapping = map_names(names, self._index, self._vocabulary)
            _check_conflicts(self._mapping, file=self._file)
            self.is_named[self._mapping.index_N[self._mapping.index_N >= 0]] = True
            self._weight_N = np.array([SPIKE_IN.fullmatch(name) is None for name in names], dtype=np.float64)
        self._names = names
        # Z-scores cannot be added up: every name weighs 1.
        self._total_N = np.zeros(len(names)) if self.units.is_proportional else self._weight_N

    def _count_cells(self, samples: pd.Series[str], n_genes: np.ndarray, is_kept: np.ndarray) -> None:
        fates = np.where(is_kept, "kept", np.where(n_genes == 0, "empty", "too_few_genes"))
        for (sample, fate), n_cells in Counter(zip(samples, fates.tolist(), strict=True)).items():
            self._cells.setdefault(str(sample), Counter())[fate] += n_cells

    def _check(self, report: Harmonisation) -> None:
        if report.cells_kept == 0:
            expected = f"cells with at least {self._dataset.min_genes} expressed genes"
            remedy = f"lower min_genes of {self._dataset.dataset} in config/datasets.tsv, or check its reader"
            raise unreadable(self._file, expected, f"none among {report.cells_dropped}", field="cells", remedy=remedy)
        if report.mapped_share_of_counts < report.threshold:
            what = "counts" if self.units.is_proportional else "names"
            lost = ", ".join(f"{name} {share:.2%}" for name, share in report.top_lost)
            cause = self._likely_cause([name for name, _ in report.top_lost])
            expected = f"at least {report.threshold:.0%} of the {what} on vocabulary genes"
            found = f"{report.mapped_share_of_counts:.1%}; most lost: {lost or 'nothing'}{cause}"
            remedy = "check that names are symbols or Ensembl ids of human genes; or lower the config's threshold"
            raise unreadable(self._file, expected, found, field=NAMES, remedy=remedy)

    def _likely_cause(self, lost: Sequence[str]) -> str:
        """Say what cells called like genes, or genes called like a mouse's, most likely mean."""
        cells = map_names(self._barcodes, self._index, self._vocabulary)
        if 2 * np.count_nonzero(cells.index_N >= 0) > len(self._barcodes):
            return f"; cells are called like genes, {', '.join(self._barcodes[:3])}: the matrix is transposed"
        if lost and 2 * sum(MOUSE.fullmatch(name) is not None for name in lost) > len(lost):
            return "; names of mouse or rat genes"
        return ""


def _check_names(names: Sequence[str], *, file: str) -> None:
    """Raise InputError if names count themselves: 0, 1, 2 … are no Entrez ids."""
    if len(names) > 1 and any(names == [str(start + i) for i in range(len(names))] for start in (0, 1)):
        found = f"row numbers, {names[0]} to {names[-1]}"
        remedy = "put the genes' names into the index of var (or the first column of the table)"
        raise unreadable(file, "symbols, Ensembl or Entrez ids", found, field=NAMES, remedy=remedy)


def _check_conflicts(mapping: Mapping, *, file: str) -> None:
    """Raise InputError if more than MAX_CONFLICTS of the names are of one gene by their id, another by their symbol."""
    n_names = mapping.routes.count("ensembl")
    if len(mapping.conflicts) > max(1, MAX_CONFLICTS * n_names):
        found = f"ids and symbols of different genes for {len(mapping.conflicts)} of {n_names}, such as "
        found += ", ".join(mapping.conflicts[:5])
        remedy = "put ids and symbols back into one order: one of the two columns was sorted or shifted alone"
        expected = "an Ensembl id and a symbol of the same gene in each row"
        raise unreadable(file, expected, found, field=NAMES, remedy=remedy)


def to_vocabulary(
    values_CN: sparse.csr_matrix,
    mapping: Mapping,
    n_genes: int,
    *,
    combine: Literal["sum", "mean"] = "sum",
) -> sparse.csr_matrix:
    """Move values from the source's axis to the vocabulary's, indices sorted; unmapped names are dropped.

    `combine` says what becomes of several names of one gene. The type of the values stays, unless some had to be
    combined: these are float64, which holds every whole number below 2^53, so sums stay exact.
    """
    mapped = np.flatnonzero(mapping.index_N >= 0)
    by_gene = mapped[np.argsort(mapping.index_N[mapped], kind="stable")]
    genes = mapping.index_N[by_gene].astype(np.int32)
    # Columns are put in the order of the genes, so that rows come out sorted without a sort of each.
    moved = sparse.csc_matrix(values_CN)[:, by_gene].tocsr()
    if combine == "mean":
        moved.data = moved.data / np.bincount(genes, minlength=n_genes)[genes[moved.indices]]
    values_CG = sparse.csr_matrix((moved.data, genes[moved.indices], moved.indptr), (values_CN.shape[0], n_genes))
    if not values_CG.has_canonical_format:
        values_CG.data = values_CG.data.astype(np.float64)
        values_CG.sum_duplicates()
    return values_CG
