"""Gene tables judged by held-out edges, by the command that the workflow calls."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from celllm.base.errors import InputError, VocabularyMismatch
from celllm.genes import edges, link_scores, links
from celllm.genes.commands import evaluate_genes
from celllm.genes.edges import Edges
from celllm.genes.link_scores import METHODS, NEGATIVES
from celllm.harmonise import vocabulary
from celllm.harmonise.vocabulary import Vocabulary


@pytest.fixture
def folder(tmp_path: Path, vocabulary: Vocabulary) -> Path:
    """Forty genes, 32 of them in two dense groups; a recipe of width 8."""
    write_network(tmp_path, vocabulary, chance=0.5)
    values = {
        "tokens": {"max_length": 24},
        "genes": {"method": "svd", "epochs": 5, "hidden": 8, "feature_width": 16},
        "encoder": {"width": 8, "depth": 1, "heads": 2, "head_width": 4},
        "training": {"batch_cells": 10, "chunk_tokens": 128, "steps": 4},
    }
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(values))
    return tmp_path


def write_network(folder: Path, genes: Vocabulary, *, chance: float) -> None:
    vocabulary.write(genes, folder / "genes.tsv")
    a, b = np.triu_indices(32, k=1)
    is_edge = np.random.default_rng(0).random(len(a)) < np.where(a // 16 == b // 16, chance, chance - 0.45)
    a, b = a[is_edge].astype(np.int32), b[is_edge].astype(np.int32)
    edges.write(Edges(a, b, genes.digest, "test"), folder / "edges.parquet")


def options(folder: Path) -> list[str]:
    files = {"recipe": "recipe.yaml", "network": "edges.parquet", "vocabulary": "genes.tsv", "out": "links.tsv"}
    return [part for name, file in files.items() for part in (f"--{name}", str(folder / file))]


def test_every_method_has_a_row_for_each_kind_of_negatives_and_seed(
    folder: Path, capsys: pytest.CaptureFixture
) -> None:
    evaluate_genes.main(options(folder))
    rows = link_scores.read(folder / "links.tsv")
    expected = {(method, kind, seed) for method in METHODS for kind in NEGATIVES for seed in (0, 1, 2)}
    assert {(row.method, row.negatives, row.seed) for row in rows} == expected
    assert {row.without_edge for row in rows} == {8}
    assert "degree_matched: graphmae_auc 0." in capsys.readouterr().out


def test_the_same_call_gives_the_same_file(folder: Path) -> None:
    evaluate_genes.main(options(folder))
    first = (folder / "links.tsv").read_bytes()
    evaluate_genes.main(options(folder))
    assert (folder / "links.tsv").read_bytes() == first


def test_areas_are_given_by_name_for_other_programs(folder: Path) -> None:
    evaluate_genes.main(options(folder))
    rows = link_scores.read(folder / "links.tsv")
    found = evaluate_genes.aurocs(folder / "edges.parquet", folder / "genes.tsv", folder / "recipe.yaml")
    assert set(found) == {f"{method}_auc" for method in METHODS}
    ours = [row.auroc for row in rows if (row.method, row.negatives) == ("graphmae", "degree_matched")]
    assert found["graphmae_auc"] == pytest.approx(np.mean(ours), abs=1e-6)


def test_validation_parts_only_edges_that_are_never_reported(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = []
    score = evaluate_genes.score_links

    def watched(edges_E2, **keywords):
        given.append((edges_E2, keywords["network_2"]))
        return score(edges_E2, **keywords)

    monkeypatch.setattr(evaluate_genes, "score_links", watched)
    tail = ["--validation", "0", "1", "--seeds", "7", "--methods", "adamic_adar"]
    evaluate_genes.main([*options(folder), *tail])
    ((parted, network),) = given
    for seed in (0, 1):
        held = links.hold_out(network, seed).held_H2
        assert not {*map(tuple, held.tolist())} & {*map(tuple, parted.tolist())}
    assert len(parted) > 0.8 * len(network)
    assert {row.method for row in link_scores.read(folder / "links.tsv")} == {"adamic_adar"}


def test_a_network_that_is_too_dense_for_non_edges_is_refused(
    folder: Path, vocabulary: Vocabulary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links, "ROUNDS", 5)
    write_network(folder, vocabulary, chance=1.45)
    with pytest.raises(InputError, match=r"(?s)edges\.parquet.*too dense"):
        evaluate_genes.main(options(folder))


def test_a_network_of_another_vocabulary_is_refused(folder: Path, vocabulary: Vocabulary) -> None:
    changed = Vocabulary(vocabulary.genes.assign(symbol=[f"X{i}" for i in range(40)]))
    edges.write(Edges(np.array([0]), np.array([1]), changed.digest, "test"), folder / "edges.parquet")
    with pytest.raises(VocabularyMismatch):
        evaluate_genes.main(options(folder))
