"""Simulated counts, for what a demo has no real cells for. Nothing here says anything about biology.

A cell's counts are gamma-Poisson (negative binomial): a share of the cell's counts for each gene, times the
cell's library size, times gamma noise, drawn as Poisson. The share of a gene is its log-normal mean, raised in
the marker genes of the cell's type and shifted a little in all genes by its sample. On top of it

- tumour cells raise a proliferation programme and gain or lose whole blocks of genes, as chromosome arms are,
- drug-resistant cells raise one set of genes and lower another, each cell to its own degree.

Sizes are set so that a cell expresses about 250 of 750 genes, as many as the demo's real cells do, and so that
telling drug responses apart is neither trivial nor hopeless. All fold changes are natural logarithms.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

Floats = NDArray[np.float64]

N_GENES = 750
N_TYPES = 5
N_BLOCKS = 12
"""Blocks of neighbouring genes, which stand for chromosome arms."""
N_PROLIFERATION = 40
N_RESISTANCE = 70
RENAMED_SHARE = 0.08
"""Share of genes that go by a name they had before, where they had one; harmonisation must find them."""

MEAN_SPREAD = 1.6
LIBRARY_SIZE = 900.0
"""Median counts of a cell over these genes."""
LIBRARY_SPREAD = 0.35
DISPERSION = 0.3
"""Squared coefficient of variation of a gene between equal cells, beyond Poisson."""
MARKER_FOLD = 2.0
"""Mean log fold change of a type's markers."""
SAMPLE_SPREAD = 0.15
"""Standard deviation of a sample's log shift of each gene: a small batch effect."""
PROLIFERATION_FOLD = 1.0
GAIN_FOLD = float(np.log(1.5))
"""Three copies in place of two."""
LOSS_FOLD = float(np.log(0.5))
"""One copy in place of two."""
RESISTANCE_FOLD = 1.4
"""Of a cell at the end of the programme; with 70 genes logistic regression reaches a macro-F1 near 0.9."""


@dataclass(frozen=True)
class Genome:
    """The genes that all simulated datasets of one seed share."""

    names: list[str]
    """What a dataset calls its genes: approved symbols, and for some an earlier symbol."""
    share: Floats
    """Mean share of a gene in a cell's counts; sums to 1."""
    type_folds: Floats
    """Types x genes: log fold changes of the marker genes, 0 elsewhere."""
    block: NDArray[np.int64]
    proliferation: NDArray[np.int64]
    resistance: Floats
    """Log fold change of each gene in a fully resistant cell; 0 for most."""

    @property
    def n_genes(self) -> int:
        """Number of genes."""
        return len(self.names)


@dataclass(frozen=True)
class SimulatedCells:
    """Counts, cells x genes, with gene names and what is known of each cell."""

    counts: csr_matrix
    names: list[str]
    obs: pd.DataFrame


def genome(hgnc: pd.DataFrame, generator: np.random.Generator) -> Genome:
    """Draw genes and their programmes; `hgnc` has the columns symbol, locus_group, prev_symbol (lists).

    ValueError if it has fewer than 100 protein-coding genes: too few for the programmes.
    """
    coding = np.flatnonzero(hgnc["locus_group"].to_numpy() == "protein-coding gene")
    if len(coding) < 100:
        msg = f"the simulator needs at least 100 protein-coding genes, the table has {len(coding)}"
        raise ValueError(msg)
    chosen = np.sort(generator.choice(coding, size=min(N_GENES, len(coding)), replace=False))
    n_genes = len(chosen)
    share = np.exp(generator.normal(0.0, MEAN_SPREAD, n_genes))
    type_folds = np.zeros((N_TYPES, n_genes))
    markers = generator.permutation(n_genes)[: N_TYPES * (n_genes // 25)].reshape(N_TYPES, -1)
    folds = generator.gamma(4.0, MARKER_FOLD / 4.0, markers.shape)
    np.put_along_axis(type_folds, markers, folds, axis=1)
    resistance = np.zeros(n_genes)
    # among the better expressed half: a gene that is silent either way would tell nothing
    programme = generator.choice(np.argsort(share)[n_genes // 2 :], size=min(N_RESISTANCE, n_genes // 4), replace=False)
    resistance[programme] = generator.choice([-1.0, 1.0], len(programme)) * RESISTANCE_FOLD
    return Genome(
        names=_names(hgnc, chosen, generator),
        share=share / share.sum(),
        type_folds=type_folds,
        block=np.arange(n_genes) * N_BLOCKS // n_genes,
        proliferation=np.sort(generator.choice(n_genes, size=min(N_PROLIFERATION, n_genes // 4), replace=False)),
        resistance=resistance,
    )


def draw_counts(share: Floats, library: Floats, generator: np.random.Generator) -> csr_matrix:
    """Draw gamma-Poisson counts, int32; `share` is cells x genes, each row scaled to sum to 1, `library` their sums."""
    expected = share / share.sum(axis=1, keepdims=True) * library[:, None]
    noise = generator.gamma(1 / DISPERSION, DISPERSION, expected.shape)
    return csr_matrix(generator.poisson(expected * noise).astype(np.int32))


def tumour_cells(genes: Genome, n_cells: int, generator: np.random.Generator) -> SimulatedCells:
    """Draw normal cells of several types from two samples, and tumour cells of two patients.

    A patient's tumour grows from one type and has its own gains and losses; half of the cells are tumour. Obs:
    cell_type, sample, disease_state (`cancer` or `normal`).
    """
    is_tumour = np.arange(n_cells) % 2 == 1
    sample = generator.integers(2, size=n_cells)
    cell_type = generator.integers(N_TYPES, size=n_cells)
    origin = generator.choice(N_TYPES, size=2, replace=False)
    cell_type[is_tumour] = origin[sample[is_tumour]]
    changes = np.zeros((2, N_BLOCKS))
    for patient in range(2):
        gained, lost = np.split(generator.permutation(N_BLOCKS)[:5], [3])
        changes[patient, gained], changes[patient, lost] = GAIN_FOLD, LOSS_FOLD
    folds = genes.type_folds[cell_type]
    folds[is_tumour] += changes[sample[is_tumour]][:, genes.block]
    cycling = is_tumour * generator.beta(4.0, 2.0, n_cells) * PROLIFERATION_FOLD
    folds[:, genes.proliferation] += cycling[:, None]
    batch = np.where(is_tumour, sample, 2 + sample)
    names = np.array(["simulated_patient_1", "simulated_patient_2", "simulated_donor_1", "simulated_donor_2"])
    obs = pd.DataFrame(
        {
            "cell_type": np.where(is_tumour, "tumour", np.char.add("type_", (cell_type + 1).astype(str))),
            "sample": names[batch],
            "disease_state": np.where(is_tumour, "cancer", "normal"),
        },
    )
    return _cells(genes, folds, batch, obs, generator)


def drug_cells(genes: Genome, n_cells: int, generator: np.random.Generator) -> SimulatedCells:
    """Draw cells of one line that a drug kills or not, from three samples that each hold both.

    Two in five cells are resistant. How far a cell has gone along the resistance programme differs from cell to
    cell: sensitive ones lie between 0 and about a half, resistant ones between about a half and 1. Obs: response
    (`sensitive` or `resistant`), sample.
    """
    is_resistant = generator.permutation(np.arange(n_cells) % 5 < 2)
    sample = generator.integers(3, size=n_cells)
    degree = np.where(is_resistant, generator.beta(6.0, 2.5, n_cells), generator.beta(1.5, 6.0, n_cells))
    folds = genes.type_folds[0] + degree[:, None] * genes.resistance
    obs = pd.DataFrame(
        {
            "response": np.where(is_resistant, "resistant", "sensitive"),
            "sample": np.array(["simulated_sample_1", "simulated_sample_2", "simulated_sample_3"])[sample],
        },
    )
    return _cells(genes, folds, sample, obs, generator)


def _cells(
    genes: Genome, folds: Floats, batch: NDArray[np.int64], obs: pd.DataFrame, generator: np.random.Generator
) -> SimulatedCells:
    """Add the batch effect to log fold changes and draw counts."""
    shifts = generator.normal(0.0, SAMPLE_SPREAD, (int(batch.max()) + 1, genes.n_genes))
    library = LIBRARY_SIZE * np.exp(generator.normal(0.0, LIBRARY_SPREAD, len(obs)))
    counts = draw_counts(genes.share * np.exp(folds + shifts[batch]), library, generator)
    obs.index = pd.Index([f"simulated_cell_{number:05d}" for number in range(1, len(obs) + 1)])
    return SimulatedCells(counts, genes.names, obs)


def _names(hgnc: pd.DataFrame, chosen: NDArray[np.int64], generator: np.random.Generator) -> list[str]:
    """Name genes by their approved symbol, and some of those that can be found by it by an earlier one."""
    approved = set(hgnc["symbol"])
    earlier = hgnc["prev_symbol"].explode().dropna()
    unique = set(earlier[~earlier.duplicated(keep=False)]) - approved
    names = [str(symbol) for symbol in hgnc["symbol"].iloc[chosen]]
    for place in np.flatnonzero(generator.random(len(chosen)) < RENAMED_SHARE):
        usable = [name for name in hgnc["prev_symbol"].iloc[chosen[place]] if name in unique]
        if usable:
            names[place] = str(usable[-1])
    return names
