"""A dataset's cells onto the vocabulary's axis, piece by piece: names mapped, shallow cells dropped, all accounted for.

Shapes: C cells of a piece, N names of its file, G vocabulary genes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd
from scipy import sparse

from celllm.base.errors import InputError
from celllm.config.tables import Dataset
from celllm.config.units import Units
from celllm.harmonise.align import Account, harmonisation_of, to_vocabulary
from celllm.harmonise.harmonisation import Harmonisation, SampleCells
from celllm.harmonise.quality import cell_hashes, n_expressed
from celllm.harmonise.symbols import Mapping, SymbolIndex, map_names
from celllm.harmonise.vocabulary import Vocabulary
from celllm.sources.readers.cells import RawCells, annotate
from celllm.sources.values import check_values, dtype_of


class Alignment:
    """Takes a dataset's pieces in turn and remembers what became of names and cells.

    Memory holds one piece, one mapping and a few numbers a name and a sample.

    Parameters
    ----------
    dataset
        The dataset's row.
    index
        All approved genes.
    genes
        The axis.
    rule
        Label rule of sources.readers.cells.annotate.
    """

    def __init__(self, dataset: Dataset, *, index: SymbolIndex, genes: Vocabulary, rule: str = "metadata") -> None:
        self.dataset = dataset
        self.units = Units(dataset.units or "counts")
        self._index = index
        self._genes = genes
        self._rule = rule
        self._names: Sequence[str] = ()
        self._mapping: Mapping | None = None
        self._accounts: list[Account] = []
        self._file = dataset.dataset
        self.is_named = np.zeros(genes.n_genes, dtype=bool)
        """Which genes some name of the source means."""
        self._cells: dict[str, Counter[str]] = {}

    def add(self, cells: RawCells) -> tuple[sparse.csr_matrix, pd.DataFrame]:
        """Move a piece onto the axis.

        Returns
        -------
        Kept cells x genes; and what is known of them, in the columns of contracts.counts, indexed by cell id.

        Raises
        ------
        InputError
            If a column that the dataset's row names is missing, or names of one gene sum up to more than 32 bits hold.
        """
        self._file = str(cells.file)
        account = self._account(cells)
        n_genes = n_expressed(cells.matrix)
        is_kept = n_genes >= self.dataset.min_genes
        obs = annotate(cells, self.dataset, rule=self._rule)
        self._count(obs, n_genes, is_kept)
        kept = cells.matrix if is_kept.all() else cells.matrix[np.flatnonzero(is_kept)]
        account.add(kept)
        how: Literal["sum", "mean"] = "sum" if self.units.is_proportional else "mean"
        matrix = to_vocabulary(kept, account.mapping, self._genes.n_genes, combine=how)
        what = "counts of one gene, summed over its names"
        check_values(matrix.data, self.units, file=cells.file, field=what, is_source=False)
        matrix = matrix.astype(dtype_of(self.units))
        sample = f"{cells.sample}:" if cells.sample is not None else ""
        obs = obs[is_kept]
        return matrix, obs.assign(
            n_counts=np.asarray(matrix.sum(axis=1), dtype=np.float64).ravel(),
            n_genes=n_expressed(matrix),
            cell_hash=cell_hashes(matrix),
        ).set_axis([f"{self.dataset.dataset}:{sample}{name}" for name in obs.index])

    def report(self, *, threshold: float) -> Harmonisation:
        """Sum up, and check that enough of the counts has landed on the axis.

        Raises
        ------
        InputError
            If less than `threshold` has (the names most lost are shown), or no cell is left.
        """
        report = harmonisation_of(
            self._accounts,
            dataset=self.dataset.dataset,
            samples={
                name: SampleCells(kept=found["kept"], empty=found["empty"], too_few_genes=found["too_few_genes"])
                for name, found in self._cells.items()
            },
            threshold=threshold,
        )
        self._check(report)
        return report

    def _account(self, cells: RawCells) -> Account:
        """Return the account of the names at hand; a file's pieces share one, files of equal names share a mapping."""
        if self._mapping is None or (cells.names is not self._names and cells.names != self._names):
            self._mapping = map_names(cells.names, self._index, self._genes)
            self.is_named[self._mapping.index_N[self._mapping.index_N >= 0]] = True
        if not self._accounts or cells.names is not self._names:
            self._accounts.append(Account(self._mapping, are_counts=self.units.is_proportional))
        self._names = cells.names
        return self._accounts[-1]

    def _count(self, obs: pd.DataFrame, n_genes: np.ndarray, is_kept: np.ndarray) -> None:
        fate = np.where(is_kept, "kept", np.where(n_genes == 0, "empty", "too_few_genes"))
        for (sample, what), n_cells in Counter(zip(obs["sample"], fate.tolist(), strict=True)).items():
            self._cells.setdefault(str(sample), Counter())[what] += n_cells

    def _check(self, report: Harmonisation) -> None:
        if report.cells_kept == 0:
            raise InputError(
                file=self._file,
                field="cells",
                expected=f"cells with at least {self.dataset.min_genes} expressed genes",
                found=f"none among {report.cells_dropped}",
                remedy=f"lower min_genes of {self.dataset.dataset} in config/datasets.tsv, or check its reader",
            )
        if report.mapped_share_of_counts < report.threshold:
            what = "counts" if self.units.is_proportional else "names"
            lost = ", ".join(f"{name} {share:.2%}" for name, share in report.top_lost)
            raise InputError(
                file=self._file,
                field="gene names",
                expected=f"at least {report.threshold:.0%} of the {what} on vocabulary genes",
                found=f"{report.mapped_share_of_counts:.1%}; most lost: {lost or 'nothing'}",
                remedy="check that names are symbols or Ensembl ids of human genes; or lower the config's threshold",
            )
