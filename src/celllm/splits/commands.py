"""The command of the splits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from celllm.base.app import Stage, commands
from celllm.config.rows import TaskRow

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Draw = Callable[[int], NDArray[np.str_]]

app = commands()


@app.command
def make_splits(
    *,
    task: TaskRow,
    cells: Path,
    responses: Path | None = None,
    seeds: list[int],
    stage: Stage = "make_splits",
    manifest: Path,
) -> None:
    r"""Divide the cells of a task, or its pairs of cell line and drug, into training, validation and test.

    Splits that are there already, made by the same row, files and stage, are kept: a seed more makes a split more.

    Parameters
    ----------
    task
        the task's row of config/tasks.tsv as JSON
    cells
        aligned cells of the task's data set
    responses
        aligned drug responses; for tasks of kind regression only
    seeds
        random seeds, a split each; of splits by donors, positions of the tested donors
    manifest
        list of the splits, written last; each split stands beside it as split{seed}.parquet

    Example::

        celllm make_splits --cells results/cells/pbmc68k_reduced.h5ad --seeds 0 1 --manifest splits/manifest.json \
            --task '{"task": "annotation", "kind": "classification", "title": "PBMC", "dataset": "pbmc68k_reduced",
                     "response": null, "split": "random", "split_seeds": [0], "train": 0.7, "validation": 0.1,
                     "test": 0.2, "min_class_size": 10, "protocol": "clean", "headline": "macro_f1"}'
    """
    from collections import Counter

    from celllm.base.provenance import digest_of, stamp
    from celllm.config.rows import as_json
    from celllm.splits import format as split_file
    from celllm.splits.format import SUBSETS, Split
    from celllm.splits.units import check_responses

    check_responses(task, responses)
    inputs = {"cells": cells} | ({} if responses is None else {"responses": responses})
    provenance = stamp(stage, inputs)
    provenance["request"] = digest_of([stage, provenance["inputs"], as_json(task)])
    files = {seed: manifest.with_name(f"split{seed}.parquet") for seed in seeds}
    missing = [seed for seed in seeds if split_file.request_of(files[seed]) != provenance["request"]]
    print(f"kept: {len(files) - len(missing)} splits that are there already")
    if missing:
        units, draw = _cells_of(cells, task) if responses is None else _pairs_of(cells, responses, task)
    for seed in missing:
        subsets = draw(seed)
        split_file.write(Split(task.task, seed, units, subsets, provenance={**provenance, "seed": seed}), files[seed])
        sizes = Counter(subsets.tolist())
        print(f"split {seed}: " + ", ".join(f"{subset} {sizes[subset]}" for subset in SUBSETS))
    split_file.write_manifest(files.values(), manifest, task=task.task, provenance=provenance)


def _cells_of(cells: Path, task: TaskRow) -> tuple[list[str], Draw]:
    """Return the task's cells, and what draws their subsets and says which classes are never met in training."""
    import pandas as pd

    from celllm.harmonise import cells as cells_file
    from celllm.splits.cells import MIN_CLASS_SIZE, by_donor, stratified

    obs = pd.concat(cells_file.obs_pieces(cells))
    units, labels, donors = list(obs.index), obs["label"].to_numpy(str), obs["donor"].to_numpy(str)
    if task.split == "donors" and (n_unknown := int((donors == "").sum())):
        print(f"left out: {n_unknown} of {len(units)} cells whose donor is not known")

    def draw(seed: int) -> NDArray[np.str_]:
        if task.split == "donors":
            subsets = by_donor(labels, donors, units, task, seed=seed)
        else:
            subsets = stratified(labels, units, task, seed=seed)
        unknown = sorted(set(labels[subsets == "test"]) - set(labels[subsets == "train"]))
        if unknown:
            print(f"tested, but without a training cell, so that they can only be missed: {', '.join(unknown)}")
        too_small = sorted(set(labels[subsets == "unused"]) - set(labels[subsets != "unused"]) - {""})
        if too_small:
            print(f"left out, fewer cells than min_class_size or {MIN_CLASS_SIZE}: {', '.join(too_small)}")
        return subsets

    return units, draw


def _pairs_of(cells: Path, responses: Path, task: TaskRow) -> tuple[list[str], Draw]:
    """Return the task's pairs of line and drug, and what draws their subsets."""
    import pandas as pd

    from celllm.harmonise import cells as cells_file
    from celllm.sources import responses as responses_file
    from celllm.splits import pairs
    from celllm.splits.compounds import compounds
    from celllm.splits.units import line_of, with_expression

    table = responses_file.read(responses).table
    lines = [line_of(name) for name in pd.concat(cells_file.obs_pieces(cells)).index]
    kept = with_expression(table, lines, file=responses)
    if len(table) > len(kept):
        print(f"left out: {len(table) - len(kept)} of {len(table)} pairs, whose lines have no expression")
    names, drugs, smiles = (kept[column].to_numpy(str) for column in ("line", "drug", "smiles"))
    structures = compounds(smiles)
    n_drugs, n_compounds = len(set(drugs)), len(set(structures))
    if n_compounds < n_drugs:
        print(f"{n_drugs} drugs are {n_compounds} compounds: names of one compound are divided as one")

    def draw(seed: int) -> NDArray[np.str_]:
        return pairs.divide(names, drugs, structures, task, seed=seed)

    return [f"{line}|{drug}" for line, drug in zip(names, drugs, strict=True)], draw
