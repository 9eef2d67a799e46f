"""`celllm.adapt` and `celllm adapt`: pretraining goes on, on one's own cells."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from celllm.annotate import folder as folders
from celllm.annotate import judge as judges
from celllm.annotate import source
from celllm.annotate.card import card
from celllm.annotate.cells import OwnCells, embed_piece
from celllm.annotate.folder import EncoderFolder
from celllm.annotate.source import Source
from celllm.base.errors import InputError
from celllm.base.provenance import stamp
from celllm.config import recipe as recipes
from celllm.config.recipe import Recipe

if TYPE_CHECKING:
    import anndata as ad
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

STAGE = "adapt: 1"
MIN_CELLS = 16
GENTLER = 0.1
"""Learning rate over that of the recipe: the weights are no longer drawn at random. Our choice."""


@dataclass(frozen=True)
class OwnCorpus:
    """Cells in memory, as pretraining reads a corpus; whether they are of a tumour is not known."""

    counts: csr_matrix
    vocabulary: str

    @property
    def n_cells(self) -> int:
        """Number of cells."""
        return int(self.counts.shape[0])

    @property
    def n_genes(self) -> int:
        """Size of the vocabulary."""
        return int(self.counts.shape[1])

    @property
    def is_malignant(self) -> NDArray[np.int8]:
        """-1, unknown, for each cell."""
        return np.full(self.n_cells, -1, dtype=np.int8)

    @property
    def digest(self) -> str:
        """Sha256 of the counts."""
        sha = hashlib.sha256()
        for part in (self.counts.data, self.counts.indices, self.counts.indptr):
            sha.update(part.tobytes())
        return sha.hexdigest()

    def rows(self, indices: NDArray[np.int64]) -> csr_matrix:
        """Return the counts of some cells."""
        return self.counts[indices]

    def groups(self, of: Literal["dataset", "sample"]) -> NDArray[np.int64]:
        """Return 0 for each cell: one data set, and samples are not known."""
        del of
        return np.zeros(self.n_cells, dtype=np.int64)

    def names(self, indices: NDArray[np.int64]) -> list[str]:
        """Return the numbers of some cells, from 0."""
        return [f"cell {index}" for index in indices]


def adapt(
    adata: ad.AnnData,
    out: Path | str,
    *,
    encoder: Path | str | None = None,
    steps: int = 500,
    learning_rate: float | None = None,
    labels: str | None = None,
    counts: str | None = None,
    genes: str | None = None,
    seed: int = 0,
) -> Path:
    """Go on pretraining an encoder on one's own cells, without their labels.

    Parameters
    ----------
    adata
        Cells, as in `celllm.embed`; all of them are held in memory.
    out
        Folder to write the new encoder to, with its checkpoints: the same call resumes an interrupted run.
    encoder
        Folder of the encoder to begin with; None: the one in the package.
    steps
        Optimiser steps.
    learning_rate
        Peak learning rate; None: a tenth of that of the encoder's recipe.
    labels
        Column of obs: a probe on these labels is scored before and after, by cross-validation.
    counts, genes
        As in `celllm.embed`.
    seed
        Random seed of order, masks and dropout.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    InputError
        If counts or gene names are not found, or there are fewer than 16 cells.
    """
    made = adapted(
        source.of_anndata(adata),
        Path(out),
        encoder=encoder,
        steps=steps,
        learning_rate=learning_rate,
        labels=labels,
        counts=counts,
        genes=genes,
        seed=seed,
        said=lambda line: sys.stderr.write(f"{line}\n"),
    )
    return made.path


def adapted(
    cells: Source,
    out: Path,
    *,
    encoder: Path | str | None,
    steps: int,
    learning_rate: float | None,
    labels: str | None,
    counts: str | None,
    genes: str | None,
    seed: int,
    said: Callable[[str], Any],
) -> EncoderFolder:
    """Adapt an encoder; parameters as of `adapt`, `said` is told how it goes."""
    from celllm.pretrain import history, run
    from celllm.pretrain.monitor import Terminal

    begun = folders.read(encoder)
    own = OwnCells(cells, begun, counts=counts, genes=genes)
    matrix = own.counts(show="read")
    is_full = np.diff(matrix.indptr) > 0
    corpus = OwnCorpus(matrix[is_full], begun.vocabulary.digest)
    for line in own.described():
        said(line)
    if corpus.n_cells < MIN_CELLS:
        raise InputError(
            file=cells.file,
            field="cells",
            expected=f"at least {MIN_CELLS} cells with counts of the encoder's genes",
            found=str(corpus.n_cells),
            remedy="give more cells; an encoder is not adapted to a handful",
        )
    names = None if labels is None else cells.column(labels, "--labels").to_numpy(dtype=np.str_)[is_full]
    notes = f"Adapted from encoder {begun.pretrained.digest[:12]} on {corpus.n_cells:,} cells of {cells.file}."
    scores = [] if names is None else [_probed(begun, corpus, names, "before", cells.file, said)]
    recipe = recipe_for(begun.pretrained.recipe, corpus.n_cells, steps=steps, learning_rate=learning_rate)
    old = begun.pretrained.encoder
    result = run.pretrain(
        recipe,
        corpus,
        gene_embedding=old.embedding.genes.weight[: old.n_genes].detach().numpy(),
        gene_digest=begun.pretrained.digest,
        seed=seed,
        checkpoints=out / "checkpoints",
        stage=STAGE,
        monitors=[Terminal()],
        initial=old,
    )
    history.write(result.history, out / "history.jsonl")
    pretrained = replace(begun.pretrained, encoder=result.encoder, recipe=recipe)
    if names is not None:
        scores.append(_probed(replace(begun, pretrained=pretrained), corpus, names, "after", cells.file, said))
        notes += f" Macro-F1 of a probe on `{labels}`, cross-validated: {scores[0]:.3f} before, {scores[1]:.3f} after."
    return folders.write(
        out,
        pretrained,
        vocabulary=begun.vocabulary,
        hgnc=begun.hgnc,
        card=card(pretrained, seed=seed, notes=notes),
        stamp=stamp(STAGE, begun_with=begun.pretrained.digest, corpus=corpus.digest, seed=seed, recipe=recipe.digest),
    )


def recipe_for(recipe: Recipe, n_cells: int, *, steps: int, learning_rate: float | None) -> Recipe:
    """Return the recipe with other steps and rate, without labels of tumours, its batch no larger than the cells."""
    values = recipe.model_dump()
    values["objectives"]["malignancy"]["weight"] = 0.0
    rate = learning_rate or GENTLER * recipe.optimiser.learning_rate
    values["optimiser"] |= {"learning_rate": rate, "gene_learning_rate": None}
    training = values["training"]
    training |= {"steps": steps, "validation_cells": 0, "probe_every": None, "select": "last"}
    training["batch_cells"] = min(training["batch_cells"], n_cells)
    return recipes.parse(values, file="the encoder's recipe")


def _probed(
    encoder: EncoderFolder,
    corpus: OwnCorpus,
    labels: NDArray[np.str_],
    when: str,
    file: str,
    said: Callable[[str], Any],
) -> float:
    """Return the macro-F1 of a probe on the embedding, and say it."""
    reference, _ = judges.check(judges.Reference({"embedding": embed_piece(encoder, corpus.counts)}, labels), file=file)
    (judged,) = judges.judge(reference, ways=("embedding",))
    mean, low, high = judged.interval
    said(f"probe {when}: macro-F1 {mean:.3f} [{low:.3f}, {high:.3f}]")
    return mean
