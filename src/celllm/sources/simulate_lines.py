"""Simulated bulk cell lines and their responses to drugs. The drugs' structures are real, the numbers are not.

A line has an activity of each of a few pathways, and a pathway raises its genes. The ln IC50 of a pair is the
drug's mean, plus the line's general sensitivity, minus the line's activity of the drug's target pathway, plus
noise. So drug and line means explain much, and expression explains more: what a method is to find.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from celllm.sources.simulate import Genome, SimulatedCells, draw_counts, drug_cells, genome, tumour_cells

SIZES = {"tumour_cells": 400, "drug_cells": 500, "cell_lines": 80}
"""Cells or lines of each kind."""
LIBRARY_SIZE = 1e6
"""Counts of a bulk sample over these genes."""
GENES_PER_PATHWAY = 30
PATHWAY_FOLD = 0.6
"""Log fold change of a pathway's genes per standard deviation of its activity."""
LINE_SPREAD = 0.3
"""Standard deviation of what else makes a line's genes differ."""
DRUG_SPREAD = 1.8
LINE_EFFECT = 0.6
TARGET_EFFECT = 1.0
NOISE = 0.5
"""Standard deviations of the parts of ln IC50."""
MISSING_SHARE = 0.05
"""Pairs that were not measured."""

PATHWAYS = ("EGFR", "kinase", "nucleotide", "chromatin", "hormone", "repair")
DRUGS = {
    "erlotinib": ("EGFR", "COCCOc1cc2ncnc(Nc3cccc(c3)C#C)c2cc1OCCOC"),
    "gefitinib": ("EGFR", "COc1cc2ncnc(Nc3ccc(F)c(Cl)c3)c2cc1OCCCN1CCOCC1"),
    "imatinib": ("kinase", "Cc1ccc(NC(=O)c2ccc(CN3CCN(C)CC3)cc2)cc1Nc1nccc(n1)-c1cccnc1"),
    "sorafenib": ("kinase", "CNC(=O)c1cc(Oc2ccc(NC(=O)Nc3ccc(Cl)c(c3)C(F)(F)F)cc2)ccn1"),
    "vemurafenib": ("kinase", "CCCS(=O)(=O)Nc1ccc(F)c(C(=O)c2c[nH]c3ncc(cc23)-c2ccc(Cl)cc2)c1F"),
    "fluorouracil": ("nucleotide", "Fc1c[nH]c(=O)[nH]c1=O"),
    "gemcitabine": ("nucleotide", "NC1=NC(=O)N(C=C1)[C@@H]1O[C@H](CO)[C@@H](O)C1(F)F"),
    "methotrexate": ("nucleotide", "CN(Cc1cnc2nc(N)nc(N)c2n1)c1ccc(cc1)C(=O)N[C@@H](CCC(O)=O)C(O)=O"),
    "vorinostat": ("chromatin", "ONC(=O)CCCCCCC(=O)Nc1ccccc1"),
    "tamoxifen": ("hormone", "CC/C(=C(\\c1ccccc1)c1ccc(OCCN(C)C)cc1)c1ccccc1"),
    "temozolomide": ("repair", "Cn1nnc2c(ncn2c1=O)C(N)=O"),
    "olaparib": ("repair", "O=C(C1CC1)N1CCN(CC1)C(=O)c1cc(Cc2n[nH]c(=O)c3ccccc23)ccc1F"),
}
"""Name, its target among the pathways above, and its structure as SMILES."""


def draw(kind: str, hgnc: pd.DataFrame, *, seed: int) -> tuple[SimulatedCells, pd.DataFrame | None]:
    """Draw a kind of SIZES with names of the gene annotation; return the cells, and for cell lines their responses."""
    genes = genome(hgnc, np.random.default_rng(seed))
    generator = np.random.default_rng([seed, 1 + list(SIZES).index(kind)])
    if kind == "cell_lines":
        return cell_lines(genes, SIZES[kind], generator)
    simulate = tumour_cells if kind == "tumour_cells" else drug_cells
    return simulate(genes, SIZES[kind], generator), None


def cell_lines(genes: Genome, n_lines: int, generator: np.random.Generator) -> tuple[SimulatedCells, pd.DataFrame]:
    """Draw bulk cell lines (their names are the index of obs), and a table of responses, one row a measured pair.

    Its columns are line, drug, smiles, response (ln IC50, natural logarithm of µM).
    """
    names = [f"simulated_line_{number:02d}" for number in range(1, n_lines + 1)]
    activity = generator.normal(size=(n_lines, len(PATHWAYS)))
    members = generator.permutation(genes.n_genes)[: len(PATHWAYS) * min(GENES_PER_PATHWAY, genes.n_genes // 12)]
    pathway_of = np.full(genes.n_genes, -1)
    pathway_of[members] = np.arange(len(members)) % len(PATHWAYS)
    folds = generator.normal(0.0, LINE_SPREAD, (n_lines, genes.n_genes))
    folds[:, members] += PATHWAY_FOLD * activity[:, pathway_of[members]]
    library = LIBRARY_SIZE * np.exp(generator.normal(0.0, 0.1, n_lines))
    counts = draw_counts(genes.share * np.exp(folds), library, generator)
    obs = pd.DataFrame({"sample": names}, index=pd.Index(names))
    return SimulatedCells(counts, genes.names, obs), _responses(names, activity, generator)


def _responses(lines: list[str], activity: NDArray[np.float64], generator: np.random.Generator) -> pd.DataFrame:
    target = np.array([PATHWAYS.index(pathway) for pathway, _ in DRUGS.values()])
    shape = (len(lines), len(DRUGS))
    response = (
        generator.normal(1.5, DRUG_SPREAD, len(DRUGS))
        + generator.normal(0.0, LINE_EFFECT, (len(lines), 1))
        - TARGET_EFFECT * activity[:, target]
        + generator.normal(0.0, NOISE, shape)
    )
    line, drug = np.nonzero(generator.random(shape) >= MISSING_SHARE)
    drugs = list(DRUGS)
    return pd.DataFrame(
        {
            "line": [lines[row] for row in line],
            "drug": [drugs[column] for column in drug],
            "smiles": [DRUGS[drugs[column]][1] for column in drug],
            "response": response[line, drug],
        },
    )
