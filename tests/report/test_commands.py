"""The commands of the report on small inputs, written through the contracts."""

from __future__ import annotations

import json
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix

from celllm.annotate import embeddings
from celllm.base.errors import InputError
from celllm.bench import predictions, runs
from celllm.bench import scores as scores_file
from celllm.bench.runs import Failure, Runs
from celllm.config import claims
from celllm.config import recipe as recipes
from celllm.corpus import format as shards
from celllm.corpus import writer
from celllm.corpus.writer import Excluded
from celllm.harmonise import cells as counts
from celllm.harmonise import harmonisation
from celllm.harmonise.harmonisation import Harmonisation, SampleCells
from celllm.harmonise.vocabulary import Vocabulary
from celllm.pretrain import commands as pretraining
from celllm.pretrain import history, step_cost
from celllm.report.commands import (
    compare_claims,
    plot_confusion,
    plot_curves,
    plot_fewshot,
    plot_harmonisation,
    plot_scores,
    plot_step_cost,
    plot_umap,
    tabulate,
)

CLAIMS = """\
claim\tsource\ttask\tmethod\tmetric\tpaper\ttolerance
close\tabstract\tblood\tcelllm\tmacro_f1\t0.71\t0.02
far\tabstract\tblood\tlogistic\tmacro_f1\t0.9\t0.02
invented\tabstract\tinvented\tcelllm\tmacro_f1\t0.7\t0.02
absent\tabstract\tgland\tcelllm\tmacro_f1\t0.7\t0.02
"""


def tables_of(config: dict[str, Path]) -> list[str]:
    return [part for name in ("tasks", "methods", "datasets") for part in (f"--{name}", str(config[name]))]


def figure_options(folder: Path) -> list[str]:
    return ["--stage", "report-1", "--png", str(folder / "f.png"), "--pdf", str(folder / "f.pdf")]


def assert_drawn(folder: Path) -> None:
    assert (folder / "f.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "f.pdf").read_bytes().startswith(b"%PDF")


@pytest.fixture
def vocabulary() -> Vocabulary:
    symbols = [f"GENE{i}" for i in range(30)]
    return Vocabulary(pd.DataFrame({"symbol": symbols, "hgnc_id": symbols, "ensembl": "", "entrez": ""}))


@pytest.fixture
def cells(vocabulary: Vocabulary, generator: np.random.Generator) -> ad.AnnData:
    matrix = csr_matrix(generator.poisson(2.0, (40, 30)))
    obs = pd.DataFrame(
        {
            "sample": "s",
            "donor": "s",
            "study": "d",
            "label": ["B cell", "T cell"] * 20,
            "is_malignant": [0, 1] * 20,
            "n_counts": np.asarray(matrix.sum(axis=1)).ravel(),
            "n_genes": np.diff(matrix.indptr),
            "cell_hash": [f"{i:04x}" for i in range(40)],
        },
        index=[f"blood:{i}" for i in range(40)],
    )
    return counts.build(
        matrix, obs, vocabulary=vocabulary, dataset="blood", units="counts", simulated=False, provenance={}
    )


@pytest.fixture
def manifest(tmp_path: Path, cells: ad.AnnData, vocabulary: Vocabulary) -> Path:
    path = tmp_path / "shards/manifest.json"
    counts.write(cells, tmp_path / "blood.h5ad")
    writer.write(
        [tmp_path / "blood.h5ad"],
        path,
        vocabulary=vocabulary.digest,
        n_genes=vocabulary.n_genes,
        excluded=Excluded(ids={"blood:0"}, hashes={}),
        shard_cells=16,
        seed=0,
        provenance={},
    )
    return path


@pytest.fixture
def inputs(tmp_path: Path, scores: pd.DataFrame) -> dict[str, Path]:
    """Scores, claims and a harmonisation report on disk."""
    paths = {name: tmp_path / name for name in ("scores.tsv", "claims.tsv", "blood.harmonisation.json")}
    scores_file.write(scores, paths["scores.tsv"])
    paths |= {name: tmp_path / name for name in ("failed.tsv", "trials.tsv")}
    scores_file.write_failures([], paths["failed.tsv"])
    scores_file.write_trials(pd.DataFrame(columns=list(scores_file.TRIAL_COLUMNS)), paths["trials.tsv"])
    paths["claims.tsv"].write_text(CLAIMS, encoding="utf-8")
    routes = {"approved": 8, "unknown": 2}
    shares = {"approved": 0.95, "unknown": 0.05}
    samples = {"s": SampleCells(kept=40, empty=0, too_few_genes=2)}
    report = Harmonisation("blood", 10, 8, 0, 2, 1, 0.95, routes, shares, [("MALAT1", 0.05)], samples, 0.8)
    harmonisation.write(report, paths["blood.harmonisation.json"])
    return paths


def compared(tmp_path: Path, config: dict[str, Path], inputs: dict[str, Path]) -> Path:
    out = tmp_path / "answers.tsv"
    options = ["--scores", str(inputs["scores.tsv"]), "--claims", str(inputs["claims.tsv"]), *tables_of(config)]
    compare_claims.main([*options, "--not-run", "gland", "--out", str(out)])
    return out


def test_each_claim_gets_its_verdict(tmp_path, config, inputs):
    answers = claims.read_answers(compared(tmp_path, config, inputs))
    assert [answer.verdict for answer in answers] == ["reproduced", "not reproduced", "not comparable", "not run"]


def test_all_tables_are_written(tmp_path, config, inputs, manifest, root):
    tabulate.main(
        [
            *("--scores", str(inputs["scores.tsv"]), "--claims", str(compared(tmp_path, config, inputs))),
            *("--failed", str(inputs["failed.tsv"]), "--trials", str(inputs["trials.tsv"])),
            *tables_of(config),
            *("--recipes", str(root / "config/recipes/demo.yaml")),
            *(
                "--shards",
                str(manifest),
                "--config",
                json.dumps({"model_seeds": [0, 1, 2]}),
            ),
            *("--not-run", "gland", "--tables", str(tmp_path / "tables")),
        ],
    )
    names = {"main", "verdicts", "controls", "costs", "choices", "config", "corpus"}
    names |= {"comparisons", "spread", "classes", "trials", "failed"}
    assert {path.stem for path in (tmp_path / "tables").iterdir()} == names
    main = pd.read_csv(tmp_path / "tables/main.tsv", sep="\t")
    assert len(main) == 13
    assert float(main.loc[(main["task"] == "blood") & (main["method"] == "celllm"), "value"].item()) == 0.7
    corpus = pd.read_csv(tmp_path / "tables/corpus.tsv", sep="\t")
    assert list(corpus["cells_kept"]) == [39]
    assert list(corpus["test_cells_excluded"]) == [1]
    assert corpus["tumour_share"].item() == pytest.approx(20 / 39)


def test_scores_are_drawn(tmp_path, config, inputs):
    plot_scores.main(["--scores", str(inputs["scores.tsv"]), *tables_of(config), *figure_options(tmp_path)])
    assert_drawn(tmp_path)


def test_harmonisation_is_drawn(tmp_path, config, inputs):
    options = ["--harmonisation", str(inputs["blood.harmonisation.json"]), "--datasets", str(config["datasets"])]
    plot_harmonisation.main([*options, *figure_options(tmp_path)])
    assert_drawn(tmp_path)


def test_curves_of_several_runs_are_drawn(tmp_path, manifest):
    paths = [tmp_path / "demo/seed0/history.jsonl", tmp_path / "scbert/seed0/history.jsonl"]
    for path in paths:
        history.write([{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0}], path)
    options = ["--history", *map(str, paths), "--shards", str(manifest)]
    plot_curves.main([*options, *figure_options(tmp_path)])
    assert_drawn(tmp_path)
    assert b"demo, seed 0" in (tmp_path / "f.png").read_bytes()
    assert shards.read(manifest).n_cells == 39


@pytest.mark.slow
def test_the_cost_of_a_step_is_measured_and_drawn(tmp_path, manifest, root):
    table = tmp_path / "demo.tsv"
    recipe = recipes.read(root / "config/recipes/demo.yaml")
    pretraining.measure_step(recipe=recipe, shards=manifest, batches=[4, 8], limit_gb=4, out=table)
    measured = step_cost.read(table)
    assert list(measured["B"]) == [4, 8, 4, 8]
    assert list(measured["mode"]) == ["chunked", "chunked", "full-batch", "full-batch"]
    assert measured["fits"].all()
    plot_step_cost.main(["--cost", str(table), "--limit-gb", "4", *figure_options(tmp_path)])
    assert_drawn(tmp_path)


def test_a_step_that_does_not_fit_is_drawn(tmp_path):
    rows = [(4, "chunked", 1.0, 0.5, True), (4, "full-batch", None, None, False)]
    step_cost.write(pd.DataFrame(rows, columns=list(step_cost.COLUMNS)), tmp_path / "demo.tsv")
    plot_step_cost.main(["--cost", str(tmp_path / "demo.tsv"), "--limit-gb", "1", *figure_options(tmp_path)])
    assert_drawn(tmp_path)


@pytest.fixture
def predicted(made_of):
    """Write predictions of a task on blood."""

    def write(path: Path, *, seed: int, method: str = "celllm") -> Path:
        table = pd.DataFrame(
            {
                "unit": ["a", "b", "c"],
                "truth": ["B", "T", "rare"],
                "predicted": ["B", "B", "T"],
                "score:B": [0.9, 0.8, 0.1],
                "score:T": [0.1, 0.2, 0.9],
            },
        )
        meta = made_of(task="blood", method=method, split=seed, kind="classification", n_test=len(table))
        predictions.write(table, meta, runs.predictions_path(path, split=seed, seed=0))
        runs.write(Runs("blood", method, ((seed, 0),), (), {}), path)
        return path

    return write


def test_the_confusion_of_all_runs_is_drawn(tmp_path, config, predicted):
    paths = [str(predicted(tmp_path / f"p{seed}/runs.json", seed=seed)) for seed in (0, 1)]
    plot_confusion.main(["--runs", *paths, *tables_of(config), *figure_options(tmp_path)])
    assert_drawn(tmp_path)


def test_a_failed_run_is_passed_over_and_where_all_failed_the_figure_says_so(tmp_path, config, predicted):
    fine, failed = predicted(tmp_path / "p0/runs.json", seed=0), tmp_path / "p1/runs.json"
    failure = Failure("blood", "celllm", 1, 0, 137, "killed", "logs/fit.log")
    runs.write(Runs("blood", "celllm", (), (failure,), {}), failed)
    options = [*tables_of(config), *figure_options(tmp_path)]

    plot_confusion.main(["--runs", str(failed), str(fine), *options])
    assert_drawn(tmp_path)
    drawn = (tmp_path / "f.png").stat().st_size
    plot_confusion.main(["--runs", str(failed), *options])
    assert (tmp_path / "f.png").stat().st_size < drawn


def test_few_shot_curves_are_drawn(tmp_path, config, inputs):
    plot_fewshot.main(["--scores", str(inputs["scores.tsv"]), *tables_of(config), *figure_options(tmp_path)])
    assert_drawn(tmp_path)


def test_predictions_of_two_methods_are_not_pooled(tmp_path, config, predicted):
    paths = [str(predicted(tmp_path / name / "runs.json", seed=0, method=name)) for name in ("celllm", "logistic")]
    with pytest.raises(InputError, match="blood, celllm, classification"):
        plot_confusion.main(["--runs", *paths, *tables_of(config), *figure_options(tmp_path)])


@pytest.mark.slow
def test_embeddings_are_drawn_beside_principal_components(tmp_path, config, cells, generator):
    counts.write(cells, tmp_path / "blood.h5ad")
    path = tmp_path / "demo/blood.parquet"
    embeddings.write(list(cells.obs_names), generator.normal(size=(40, 8)), list(cells.obs["label"]), path)
    options = ["--embeddings", str(path), "--cells", str(tmp_path / "blood.h5ad")]
    plot_umap.main([*options, "--datasets", str(config["datasets"]), "--seed", "1", *figure_options(tmp_path)])
    assert_drawn(tmp_path)


def test_embeddings_of_other_cells_are_refused(tmp_path, config, cells):
    counts.write(cells, tmp_path / "blood.h5ad")
    embeddings.write(["gland:0"], np.ones((1, 8)), [""], tmp_path / "e.parquet")
    options = ["--embeddings", str(tmp_path / "e.parquet"), "--cells", str(tmp_path / "blood.h5ad")]
    with pytest.raises(InputError, match="such as gland:0"):
        plot_umap.main([*options, "--datasets", str(config["datasets"]), *figure_options(tmp_path)])
