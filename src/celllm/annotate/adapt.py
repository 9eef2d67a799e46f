"""`celllm.adapt` and `celllm adapt`: pretraining goes on, on one's own cells."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from celllm.annotate import folder as folders
from celllm.annotate import judge as judges
from celllm.annotate import source
from celllm.annotate.card import card
from celllm.annotate.cells import OwnCells, embed_piece, say
from celllm.annotate.folder import EncoderFolder
from celllm.annotate.judge import Judgement
from celllm.annotate.source import Own
from celllm.base.atomic import check_place
from celllm.base.errors import InputError
from celllm.base.provenance import stamp
from celllm.config import recipe as recipes
from celllm.config.recipe import Recipe
from celllm.corpus.memory import MemoryCorpus

if TYPE_CHECKING:
    from numpy.typing import NDArray

STAGE = "adapt: 1"
MIN_CELLS = 16
GENTLER = 0.1
"""Learning rate over that of the recipe: the weights are no longer drawn at random. Our choice."""


def adapt(
    cells: Own,
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

    The same call resumes an interrupted run. Then: `celllm embed my.h5ad --encoder FOLDER -o embedded.h5ad`.

    Parameters
    ----------
    cells
        As of `celllm.embed`: an h5ad file, in Python an AnnData object too. Their counts are held in memory.
    out
        Folder to write the new encoder to, with its checkpoints.
    encoder
        Folder of the encoder to begin with; by default the one in the package.
    steps
        Optimiser steps.
    learning_rate
        Peak learning rate; by default a tenth of that of the encoder's recipe.
    labels
        Column of obs: a probe on these labels is scored before and after, by cross-validation.
    counts
        The matrix of counts: `X`, `raw` or `layers:NAME`; by default found by its values.
    genes
        The column of `var` that names genes, or `index`; by default found by its names.
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
    from celllm.pretrain import history, run
    from celllm.pretrain.monitor import Terminal

    out = Path(out)
    check_place(out / folders.ENCODER)
    if seed < 0:
        raise InputError(file="--seed", field="seed", expected="0 or more", found=str(seed), remedy="leave it out: 0")
    begun = folders.read(encoder)
    with source.opened(cells) as opened:
        corpus, is_full = _corpus(OwnCells(opened, begun, counts=counts, genes=genes), begun, file=opened.file)
        names = None if labels is None else opened.column(labels, "--labels").to_numpy(dtype=np.str_)[is_full]
    notes = f"Adapted from encoder {begun.pretrained.digest[:12]} on {corpus.n_cells:,} cells of {opened.file}."
    if names is not None:
        before = _probed(begun, corpus, names, "before", opened.file)
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
        after = _probed(replace(begun, pretrained=pretrained), corpus, names, "after", opened.file)
        gain, low, high = after.gain(before)
        said = f"probe on {labels}: {gain:+.3f} [{low:+.3f}, {high:+.3f}] macro-F1 by adapting"
        notes += f" Cross-validated {said}, from {before.interval[0]:.3f}."
        say([said])
    folders.write(
        out,
        pretrained,
        vocabulary=begun.vocabulary,
        hgnc=begun.hgnc,
        card=card(pretrained, seed=seed, notes=notes),
        stamp=stamp(STAGE, begun_with=begun.pretrained.digest, corpus=corpus.digest, seed=seed, recipe=recipe.digest),
    )
    return out


def _corpus(own: OwnCells, encoder: EncoderFolder, *, file: str) -> tuple[MemoryCorpus, NDArray[np.bool_]]:
    """Return the cells that have counts of the encoder's genes, and which of all they are."""
    counts = own.counts(show="read")
    say(own.described())
    is_full = np.diff(counts.indptr) > 0
    n_cells = int(is_full.sum())
    if n_cells < MIN_CELLS:
        raise InputError(
            file=file,
            field="cells",
            expected=f"at least {MIN_CELLS} cells with counts of the encoder's genes",
            found=str(n_cells),
            remedy="give more cells; an encoder is not adapted to a handful",
        )
    unknown = np.full(n_cells, -1, dtype=np.int8)
    return MemoryCorpus(counts[is_full], encoder.vocabulary.digest, is_malignant=unknown), is_full


def recipe_for(recipe: Recipe, n_cells: int, *, steps: int, learning_rate: float | None) -> Recipe:
    """Return the recipe with other steps and rate, without labels of tumours, its batch no larger than the cells."""
    values = recipe.model_dump()
    values["objectives"]["malignancy"]["weight"] = 0.0
    rate = GENTLER * recipe.optimiser.learning_rate if learning_rate is None else learning_rate
    values["optimiser"] |= {"learning_rate": rate, "gene_learning_rate": None}
    training = values["training"]
    training |= {"steps": steps, "validation_cells": 0, "probe_every": None, "select": "last"}
    training["batch_cells"] = min(training["batch_cells"], n_cells)
    return recipes.parse(values, file="the encoder's recipe")


def _probed(encoder: EncoderFolder, corpus: MemoryCorpus, labels: NDArray[np.str_], when: str, file: str) -> Judgement:
    """Cross-validate a probe on the embedding, and say its macro-F1."""
    reference, _ = judges.check(judges.Reference({"embedding": embed_piece(encoder, corpus.counts)}, labels), file=file)
    (judged,) = judges.judge(reference, ways=("embedding",))
    mean, low, high = judged.interval
    say([f"probe {when}: macro-F1 {mean:.3f} [{low:.3f}, {high:.3f}]"])
    return judged
