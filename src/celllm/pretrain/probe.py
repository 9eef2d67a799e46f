"""The probe: what logistic regression reads off frozen embeddings of labelled cells that pretraining never sees.

Shapes: N cells, D width, K components.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from celllm.base.errors import InputError
from celllm.base.provenance import digest
from celllm.config.recipe import Recipe
from celllm.config.tables import Task
from celllm.config.units import Units
from celllm.corpus import components as component_files
from celllm.corpus.components import gene_features, projected
from celllm.harmonise import cells as cell_files
from celllm.harmonise.vocabulary import Vocabulary
from celllm.model.inference import embed_cells
from celllm.model.store import PretrainedEncoder
from celllm.splits.cells import stratified
from celllm.splits.units import cells_from

if TYPE_CHECKING:
    from celllm.corpus.reader import ShardReader  # it brings pyarrow, which `celllm adapt` does without

SHARES = {"5pct": 0.05, "all": 0.8}
"""Shares of the cells that are learned from, by the names that figures have; the test cells, 0.2, are the same."""
N_SPLITS = 10
MAX_CELLS = 1_000
"""More are not embedded: a set is sampled down to as many, the same for every run."""
INVERSE_PENALTY = 0.1
"""C of scikit-learn, for all features alike: few labels leave no cells to choose it on."""
MIN_CLASS_SIZE = 10
"""Classes with fewer cells take no part, as in the tasks of the benchmark."""

Split = tuple[NDArray[np.int64], NDArray[np.int64]]


@dataclass(frozen=True)
class ProbeCells:
    """Labelled cells that no part of pretraining sees."""

    values: sparse.csr_matrix
    """N x genes of the vocabulary."""
    units: Units
    labels: NDArray[np.str_]
    """None empty."""
    cell_ids: NDArray[np.str_]
    """Splits go by them."""
    components_NK: NDArray[np.float64]
    """The same cells in principal components of the corpus."""
    digest: str
    """Names cells and components, in checkpoints that are chosen by them."""


def read(cells: Path, components: Path, *, corpus: ShardReader, vocabulary: Vocabulary) -> ProbeCells:
    """Read labelled cells and project them on components of the corpus; at most `MAX_CELLS`, drawn at random.

    InputError if the cells are of a data set of the corpus, or hold z-scores, which have no components;
    VocabularyMismatch if cells or components have other genes.
    """
    aligned = cell_files.read(cells, vocabulary=vocabulary)
    name, units = str(aligned.uns["dataset"]), Units(aligned.uns["units"])
    if name in corpus.datasets or not units.is_proportional:
        is_seen = name in corpus.datasets
        raise InputError(
            file=cells,
            field="dataset" if is_seen else "units",
            expected="a data set that is not in the corpus" if is_seen else "counts, or what is proportional to them",
            found=name if is_seen else units,
            remedy="name another data set as probe in the configuration",
        )
    read_cells = cells_from(aligned)
    rows = np.flatnonzero(read_cells.labels != "")
    if len(rows) > MAX_CELLS:
        rows = np.sort(np.random.default_rng(0).choice(rows, size=MAX_CELLS, replace=False))
    values = read_cells.counts[rows]
    found = component_files.read(components, vocabulary=vocabulary.digest)
    return ProbeCells(
        values=values,
        units=units,
        labels=read_cells.labels[rows],
        cell_ids=read_cells.cell_ids[rows],
        components_NK=projected(gene_features(values, units), found),
        digest=f"{digest(cells)}, {digest(components)}",
    )


def check_probed(recipe: Recipe, cells: ProbeCells | None) -> None:
    """Refuse a recipe that asks for a probe where there are no cells for one; InputError."""
    if recipe.training.probe_every is not None and cells is None:
        raise InputError(
            file="recipe",
            field="training.probe_every",
            expected="labelled cells: --probe-cells and --probe-components",
            found="none",
            remedy="name a data set as probe in the configuration, or set training.probe_every: null",
        )


class Probe:
    """Scores an encoder on labelled cells, beside what costs no training.

    The neighbours are the encoder as it was drawn (`untrained`), principal components of the corpus, and these joined
    with the embedding. Scores of the first two are computed once.
    """

    def __init__(self, cells: ProbeCells, untrained: PretrainedEncoder, *, device: torch.device) -> None:
        self._cells, self._device = cells, device
        self._splits = {
            share: [drawn(cells.labels, cells.cell_ids, train=size, seed=seed) for seed in range(N_SPLITS)]
            for share, size in SHARES.items()
        }
        self._constant = {
            **self._scores("untrained_", self._embedded(untrained)),
            **self._scores("components_", cells.components_NK),
        }

    def figures(self, pretrained: PretrainedEncoder) -> dict[str, float | None]:
        """Return macro-F1 with 5 % and with all labels, of the encoder as it is and of its neighbours; and seconds."""
        started = time.perf_counter()
        embedded_ND = self._embedded(pretrained)
        figures: dict[str, float | None] = {
            **self._scores("", embedded_ND),
            **self._constant,
            **self._scores("joined_", np.hstack([embedded_ND, self._cells.components_NK])),
        }
        return {**figures, "probe_s": time.perf_counter() - started}

    def _embedded(self, pretrained: PretrainedEncoder) -> NDArray[np.float64]:
        cells = self._cells
        embedded_ND = embed_cells(pretrained, cells.values, units=cells.units, device=self._device)
        return embedded_ND.astype(np.float64)

    def _scores(self, name: str, features_ND: NDArray[np.float64]) -> dict[str, float]:
        """Return the mean over splits for each share of labels."""
        labels = self._cells.labels
        return {
            f"probe_{name}{share}": float(
                np.mean([macro_f1(features_ND, labels, train, test) for train, test in splits])
            )
            for share, splits in self._splits.items()
        }


def score_of(figures: Mapping[str, float | None]) -> float:
    """Return what `select: probe` goes by: the mean of the scores with few labels and with all; larger is better."""
    return float(np.mean([figures[f"probe_{share}"] or 0.0 for share in SHARES]))


def drawn(labels: NDArray[np.str_], cell_ids: NDArray[np.str_], *, train: float, seed: int) -> Split:
    """Return rows for training and for testing; the fifth that is tested depends on the seed alone."""
    row = Task(
        task="probe",
        kind="classification",
        title="probe",
        dataset="probe",
        response=None,
        split="random",
        split_seeds=(seed,),
        train=train,
        validation=0,
        test=0.2,
        min_class_size=MIN_CLASS_SIZE,
        protocol="clean",
        headline="macro_f1",
    )
    subsets = stratified(labels, list(cell_ids), row, seed=seed)
    return np.flatnonzero(subsets == "train"), np.flatnonzero(subsets == "test")


def macro_f1(
    features: NDArray[np.float64], labels: NDArray[np.str_], train: NDArray[np.int64], test: NDArray[np.int64]
) -> float:
    """Fit multinomial logistic regression to the standardised rows `train`; return its macro-F1 on the rows `test`."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import f1_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(C=INVERSE_PENALTY, max_iter=5_000))
    predicted = model.fit(features[train], labels[train]).predict(features[test])
    return float(f1_score(labels[test], predicted, average="macro", zero_division=0))
