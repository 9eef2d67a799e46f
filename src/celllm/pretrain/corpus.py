"""What pretraining learns from: cells in random access, a few of them held out, and the genes of a panel."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from celllm.model.randomness import Purpose, stream_seed
from celllm.pretrain.batch import BatchCorpus


class Corpus(BatchCorpus, Protocol):
    """Cells to learn from, in random access; `celllm.corpus.reader.ShardReader` is one."""

    @property
    def n_cells(self) -> int:
        """Number of cells."""

    @property
    def vocabulary(self) -> str:
        """Digest of the vocabulary."""

    @property
    def digest(self) -> str:
        """Digest of the corpus."""

    def names(self, indices: NDArray[np.int64]) -> list[str]:
        """Return the ids of some cells."""


class Division(NamedTuple):
    """Numbers of the cells that are trained on, and of those that are not; each in ascending order."""

    training: NDArray[np.int64]
    validation: NDArray[np.int64]


def divided(n_cells: int, n_validation: int) -> Division:
    """Hold some cells out, the same for every seed of a model, so that runs can be compared on them.

    Raises
    ------
    ValueError
        If no cell would be left to train on.
    """
    if n_validation >= n_cells:
        msg = f"{n_validation} validation cells of {n_cells} leave none to train on"
        raise ValueError(msg)
    order = np.random.default_rng(stream_seed(0, 0, Purpose.VALIDATION)).permutation(n_cells)
    return Division(np.sort(order[n_validation:]), np.sort(order[:n_validation]))


def choose_panel(corpus: Corpus, panel_size: int | None, *, piece: int = 4096) -> NDArray[np.int64]:
    """Return the genes of highest mean share of a cell's counts, in the order of the vocabulary.

    Parameters
    ----------
    corpus
        The cells whose mean counts.
    panel_size
        How many; None: all.
    piece
        Cells read at once.
    """
    if panel_size is None or panel_size >= corpus.n_genes:
        return np.arange(corpus.n_genes, dtype=np.int64)
    totals = np.zeros(corpus.n_genes)
    for start in range(0, corpus.n_cells, piece):
        counts = corpus.rows(np.arange(start, min(start + piece, corpus.n_cells)))
        depth = np.maximum(np.asarray(counts.sum(axis=1)).ravel(), 1)
        totals += (1 / depth) @ counts
    # stable, so equal genes go by vocabulary order on every machine
    return np.sort(np.argsort(-totals, kind="stable")[:panel_size]).astype(np.int64)
