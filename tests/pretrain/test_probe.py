"""The probe scores frozen embeddings of cells that nobody trains on, and may choose the checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import sparse
from tiny import SPEEDS, TABLE, made_corpus, tiny_recipe

from celllm.base.errors import InputError
from celllm.config.units import Units
from celllm.corpus.reader import ShardReader
from celllm.harmonise import cells as cell_files
from celllm.model.store import PretrainedEncoder
from celllm.pretrain import probe
from celllm.pretrain.checkpoint import BEST
from celllm.pretrain.probe import Probe, ProbeCells
from celllm.pretrain.run import PretrainingResult, pretrain

TRAINING = {"steps": 6, "log_every": 1, "probe_every": 2}


@pytest.fixture(autouse=True)
def few_splits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "N_SPLITS", 3)


@pytest.fixture
def cells(generator: np.random.Generator) -> ProbeCells:
    """60 cells of two types that nearly have the same genes, and components that tell them apart."""
    labels = np.array(["a", "b"])[np.arange(60) % 2]
    rate = np.where((np.arange(40) < 20) == (labels[:, None] == "a"), 1.4, 1.0)
    values = sparse.csr_matrix(generator.poisson(rate).astype(np.float32))
    components = np.column_stack([labels == "a", generator.random(60)]).astype(float)
    return ProbeCells(values, Units.COUNTS, labels, np.array([f"c{i}" for i in range(60)]), components, "cells")


@pytest.fixture
def train(cells: ProbeCells) -> Any:
    """Train by the tiny recipe with a probe."""

    def trained(probe_cells: ProbeCells = cells, training: Any = TRAINING, **options: Any) -> PretrainingResult:
        given = {"gene_embedding": TABLE, "gene_digest": "genes", "seed": 0, "probe": probe_cells, **options}
        recipe = tiny_recipe(training=training, optimiser={"learning_rate": 0.1})
        return pretrain(recipe, made_corpus(), **given)

    return trained


def probe_of(result: PretrainingResult, cells: ProbeCells) -> dict[str, float | None]:
    encoder = PretrainedEncoder(result.encoder, tiny_recipe(), "", result.panel, "")
    return Probe(cells, encoder, device=torch.device("cpu")).figures(encoder)


def test_figures_are_those_of_the_encoder_at_that_step_and_of_the_one_before_the_first_and_change_nothing(
    train: Any, cells: ProbeCells
) -> None:
    result = train()
    assert [row["step"] for row in result.history if row.get("probe_all") is not None] == [2, 4, 6]
    last = result.history[-1]
    after, before = (probe_of(one, cells) for one in (result, train(training={**TRAINING, "steps": 0})))
    for share in ("5pct", "all"):
        assert last[f"probe_{share}"] == after[f"probe_{share}"] != before[f"probe_{share}"]
        assert last[f"probe_untrained_{share}"] == before[f"probe_{share}"]
        assert last[f"probe_joined_{share}"] == after[f"probe_joined_{share}"]
    assert last["probe_components_all"] == 1  # of a type's own number
    other = train(training={"steps": 6}).encoder.state_dict()
    assert all(torch.equal(tensor, other[name]) for name, tensor in result.encoder.state_dict().items())


def test_few_and_all_labels_are_tested_on_the_same_cells_and_every_class_is_learned(cells: ProbeCells) -> None:
    few, everything = (probe.drawn(cells.labels, cells.cell_ids, train=share, seed=1) for share in (0.05, 0.8))
    np.testing.assert_array_equal(few[1], everything[1])
    assert len(few[1]) == 12
    assert len(few[0]) == 3
    assert set(cells.labels[few[0]]) == {"a", "b"}
    assert sorted([*everything[0], *everything[1]]) == list(range(60))


def test_the_probe_chooses_the_checkpoint_and_a_stopped_run_goes_on_to_the_same_choice(
    train: Any, cells: ProbeCells, tmp_path: Path
) -> None:
    training = {**TRAINING, "steps": 8, "probe_every": 1, "select": "probe"}
    train(training=training, checkpoints=tmp_path / "stopped", stop_after=7)
    runs = [train(training=training, checkpoints=tmp_path / name) for name in ("straight", "stopped")]
    figures = [[{**row, **dict.fromkeys(SPEEDS, 0)} for row in one.history] for one in runs]
    assert figures[0] == figures[1]
    scores = [probe.score_of(row) for row in runs[0].history]
    assert max(scores) > scores[-1]  # else the last would do
    for one in runs:
        assert probe.score_of(probe_of(one, cells)) == max(scores)
    assert (tmp_path / "straight" / BEST).exists()


def test_a_choice_by_other_cells_does_not_go_on(train: Any, cells: ProbeCells, tmp_path: Path) -> None:
    other = ProbeCells(**{**vars(cells), "digest": "other cells"})
    train(training={**TRAINING, "select": "probe"}, checkpoints=tmp_path, stop_after=2)
    with pytest.raises(InputError, match="probe") as caught:
        train(other, training={**TRAINING, "select": "probe"}, checkpoints=tmp_path)
    assert caught.value.field == "probe"


def test_a_recipe_with_a_probe_needs_cells_and_a_choice_by_it_needs_a_probe(train: Any) -> None:
    with pytest.raises(InputError, match=r"(?s)training\.probe_every.*--probe-cells"):
        train(None)
    with pytest.raises(InputError, match="select: probe needs probe_every"):
        tiny_recipe(training={"select": "probe"})


def test_the_command_reads_cells_and_components_and_samples_large_sets_down(
    training: Any, probed: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "MAX_CELLS", 50)
    corpus = ShardReader(training.path / "manifest.json")
    found = probe.read(*probed.values(), corpus=corpus, vocabulary=training.genes)
    whole = cell_files.read(probed["probe_cells"])
    rows = whole.obs.index.get_indexer(found.cell_ids)
    assert len(set(rows)) == 50
    np.testing.assert_array_equal(found.values.toarray(), whole.X[rows].toarray())
    np.testing.assert_array_equal(found.labels, whole.obs["label"].to_numpy(str)[rows])
    assert found.components_NK.shape == (50, 3)


@pytest.mark.parametrize(("change", "field"), [({"dataset": "d"}, "dataset"), ({"units": "zscore"}, "units")])
def test_cells_of_the_corpus_and_z_scores_are_refused(
    training: Any, probed: dict[str, Path], aligned: Any, change: dict[str, str], field: str
) -> None:
    facts = {"dataset": "probe", **change}
    aligned(np.eye(40), training.genes, **facts).write_h5ad(probed["probe_cells"])
    with pytest.raises(InputError) as caught:
        probe.read(*probed.values(), corpus=ShardReader(training.path / "manifest.json"), vocabulary=training.genes)
    assert caught.value.field == field
