"""`celllm.annotate` and `celllm annotate`: labels of a reference for cells that have none.

Shapes: C cells of a piece, K classes.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import sparse

from celllm import __version__
from celllm.annotate import folder as folders
from celllm.annotate import head as heads
from celllm.annotate import judge as judges
from celllm.annotate import novelty as novelties
from celllm.annotate import source, target
from celllm.annotate.cells import OwnCells, embed_piece, say
from celllm.annotate.folder import EncoderFolder
from celllm.annotate.head import Model, Views
from celllm.annotate.judge import WAYS, Way
from celllm.annotate.source import Own, Source
from celllm.base.atomic import check_place
from celllm.base.errors import InputError
from celllm.harmonise.normalise import log_normalised

if TYPE_CHECKING:
    import anndata as ad
    from numpy.typing import NDArray

UNASSIGNED = "unassigned"
PREDICTION, CONFIDENCE, PROBABILITIES = "celllm_prediction", "celllm_confidence", "celllm_probabilities"
NOVELTY, MAJORITY, UNS = "celllm_novelty", "celllm_majority", "celllm_annotate"


def annotate(
    query: Own,
    reference: Own | None = None,
    out: Path | str | None = None,
    *,
    labels: str | None = None,
    donors: str | None = None,
    model: Path | str | None = None,
    save: Path | str | None = None,
    encoder: Path | str | None = None,
    way: Way | None = None,
    threshold: float = 0.5,
    novelty: float = 0.02,
    clusters: str | None = None,
    counts: str | None = None,
    genes: str | None = None,
) -> ad.AnnData | Path:
    """Label cells after a reference whose cells are labelled.

    Four ways are compared by cross-validation on the reference (logistic regression on the embedding, on principal
    components, on both, on all genes), their macro-F1 is printed, and the best one labels the query. Nothing is changed
    but what is added: `obs["celllm_prediction"]`; `obs["celllm_confidence"]`, the probability of that
    label, calibrated on held-out cells of the reference; `obs["celllm_novelty"]`, the share of such cells that
    are nearer to one of the reference's types in the embedding; `obsm["celllm_probabilities"]`, cells x labels in the
    order of `uns["celllm_annotate"]["classes"]`; and with `clusters` `obs["celllm_majority"]`.

    Parameters
    ----------
    query
        Cells to label, as of `celllm.embed`: an h5ad file, in Python an AnnData object too.
    reference
        Labelled cells, alike; not needed with `model`.
    out
        For a file: the copy of it that gets the labels.
    labels
        Column of the reference's obs with the labels; cells without one are left out.
    donors
        Column with the donors, who are then held out whole: the score is one for donors never seen.
    model
        What an earlier call saved, in place of a reference.
    save
        File to save the model to.
    encoder
        An encoder's folder; by default the one in the package.
    way
        The way to take whatever the scores say: `embedding`, `pca`, `joined` or `genes`.
    threshold
        Smallest confidence; cells below are `unassigned`.
    novelty
        Share of cells like the reference's that may be lost as unlike it: cells of a novelty above 1 minus this are
        `unassigned`; 0: none. It holds for the reference's study; see `uns["celllm_annotate"]["times_as_far"]`.
    clusters
        Column of the query's obs: each cluster's commonest label is written too.
    counts
        The matrix of counts in query and reference: `X`, `raw` or `layers:NAME`; by default found in each.
    genes
        The column of `var` that names genes in both, or `index`; by default found in each.

    Returns
    -------
    anndata.AnnData | Path
        The query, the same object, or `out`.

    Raises
    ------
    InputError
        If counts, gene names or a column are not found, or the reference has fewer than two classes.
    """
    target.check_out(query, out)
    if not 0 <= threshold < 2:  # above 1 all cells are unassigned
        raise InputError(
            file="--threshold", field="threshold", expected="0 to 1", found=f"{threshold}", remedy="leave it out: 0.5"
        )
    if save is not None:
        check_place(save)
    found = folders.read(encoder)
    with source.opened(query) as cells:  # what a query is refused for is said before minutes of judging
        target.check_obs(cells)
        if clusters is not None:
            cells.column(clusters, "--clusters")
        OwnCells(cells, found, counts=counts, genes=genes)
    if model is not None and reference is None:
        sizes = {"embedding": found.pretrained.encoder.embedding_width, "genes": found.vocabulary.n_genes}
        taught = heads.load(model, encoder=found.pretrained.digest, vocabulary=found.vocabulary.digest, sizes=sizes)
    elif model is None and reference is not None and labels is not None:
        with source.opened(reference) as cells:
            own = OwnCells(cells, found, counts=counts, genes=genes)
            taught = _teach(cells, own, found, labels, donors=donors, way=way)
    else:
        raise InputError(
            file="--reference",
            field="reference",
            expected="labelled cells and the column of their labels, or a saved model",
            found="neither" if model is None else "both",
            remedy="--reference reference.h5ad --labels cell_type, or --model saved.safetensors",
        )
    if save is not None:
        heads.save(taught, save)
    with source.opened(query) as cells:
        groups = None if clusters is None else cells.column(clusters, "--clusters").to_numpy(dtype=object)
        own = OwnCells(cells, found, counts=counts, genes=genes)
        obs, probabilities, off = _label(own, found, taught, threshold=threshold, novelty=novelty)
        names = np.asarray(obs[PREDICTION])
        if groups is not None:
            obs[MAJORITY] = pd.Categorical(majority(names, groups))
        facts = {
            "classes": list(taught.head.classes),
            "threshold": threshold,
            "novelty": novelty,
            "times_as_far": off,
            "temperature": taught.head.temperature,
            **own.facts(),
            "model": {**taught.facts},
        }
        with target.adding(query, out) as made:
            for name, column in obs.items():
                target.put(made, "obs", name, column)
            target.put(made, "obsm", PROBABILITIES, probabilities)
            target.put(made, "uns", UNS, facts)
    shares = pd.Series(names).value_counts(normalize=True)
    say(own.described(), of="query")
    unlike = float((np.asarray(obs[NOVELTY]) > 1 - novelty).mean())
    say([f"unlike the reference: {unlike:.1%}; the query lies {off:.2f} times as far from it as cells held out of it"])
    if off > novelties.FAR:
        say(["warning: a query this far off hides cells unlike the reference; look at markers of each label"])
    say(f"{name}: {share:.1%}" for name, share in shares.items())
    return query if out is None else Path(out)


def _teach(
    reference: Source, own: OwnCells, encoder: EncoderFolder, labels: str, *, donors: str | None, way: Way | None
) -> Model:
    """Judge the ways on a reference, say how they do, and teach the best one all of it; parameters as of `annotate`."""
    names = reference.column(labels, "--labels").to_numpy(dtype=np.str_)
    of_donors = None if donors is None else reference.column(donors, "--donors").to_numpy(dtype=np.str_)
    embedded, genes = [], []
    for counts_CG in own.pieces(show="reference"):
        embedded.append(embed_piece(encoder, counts_CG))
        genes.append(log_normalised(counts_CG))
    whole: Views = {"embedding": np.concatenate(embedded), "genes": sparse.vstack(genes, format="csr")}
    cells, small = judges.check(judges.Reference(whole, names, of_donors), file=reference.file)
    say(own.described(), of="reference")
    if small:
        left_out = ", ".join(f"{name} ({size})" for name, size in small.items())
        say([f"labels of fewer than {judges.N_FOLDS} cells are left out: {left_out}"])
    judged = judges.judge(cells, ways=list(WAYS))
    best = judges.best(judged)
    chosen = best if way is None else next(judgement for judgement in judged if judgement.way == way)
    held_out = "donors" if donors else "cells"
    say([f"macro-F1 on held-out {held_out} of the reference, mean of {len(best.scores)} folds and 95 % interval:"])
    for judgement in judged:
        mean, low, high = judgement.interval
        mark = " <- used" if judgement is chosen else ""
        say([f"  {WAYS[judgement.way][1]:48} {mean:.3f} [{low:.3f}, {high:.3f}]{mark}"])
    facts = {
        "version": __version__,
        "labels": labels,
        "way": chosen.way,
        "macro_f1": {judgement.way: list(judgement.scores) for judgement in judged},
        "encoder": encoder.facts,
    }
    head = judges.finished(cells, chosen)
    types = novelties.learned(cells.views["embedding"], cells.labels, judges.folds_of(cells))
    return Model(head, types, encoder.pretrained.digest, encoder.vocabulary.digest, facts)


def _label(
    own: OwnCells, encoder: EncoderFolder, model: Model, *, threshold: float, novelty: float
) -> tuple[dict[str, pd.Categorical[Any] | NDArray[np.float32]], NDArray[np.float32], float]:
    """Return columns of obs, probabilities C x K, and how many times as far as held-out cells the query lies.

    Cells without a count of the encoder's genes are unassigned.
    """
    head, found, distances, silent = model.head, [], [], []
    for counts_CG in own.pieces(show="annotate"):
        z_CD = embed_piece(encoder, counts_CG)
        views: Views = {"embedding": z_CD, "genes": log_normalised(counts_CG)}
        found.append(head.probabilities(views).astype(np.float32))
        distances.append(model.types.distances(z_CD))
        silent.append(np.diff(counts_CG.indptr) == 0)
    probabilities, is_silent = np.concatenate(found), np.concatenate(silent)
    probabilities[is_silent] = 1 / len(head.classes)
    confidence = np.where(is_silent, np.float32(0), probabilities.max(axis=1))
    novelty_C = np.ones(len(is_silent), dtype=np.float32)
    novelty_C[~is_silent], off = model.types.novelty(np.concatenate(distances)[~is_silent])
    names = np.array(head.classes, dtype=object)[probabilities.argmax(axis=1)]
    names[(confidence < threshold) | (novelty_C > 1 - novelty)] = UNASSIGNED
    return {PREDICTION: pd.Categorical(names), CONFIDENCE: confidence, NOVELTY: novelty_C}, probabilities, off


def majority(names: NDArray[Any], groups: NDArray[Any]) -> NDArray[Any]:
    """Return for each cell the commonest name of its group, of equals the first in the alphabet."""
    table = pd.crosstab(groups, names)
    commonest: NDArray[Any] = np.array(table.columns, dtype=object)[table.loc[groups].to_numpy().argmax(axis=1)]
    return commonest
