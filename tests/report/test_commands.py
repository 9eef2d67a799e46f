"""The commands of the report on small inputs on disk."""

import numpy as np
import pandas as pd
import pytest
from tests.report.conftest import listed

from celllm.annotate import embeddings
from celllm.base.errors import InputError
from celllm.bench import predictions
from celllm.bench import runs as run_files
from celllm.bench import scores as score_files
from celllm.bench.runs import Failure, Runs
from celllm.harmonise import harmonisation
from celllm.harmonise.harmonisation import Harmonisation, SampleCells
from celllm.pretrain import history
from celllm.report.commands import Page, report_figure, report_table


@pytest.fixture
def inputs(tmp_path, scores, catalogue_file, training):
    """Scores, harmonisation and shards of a small benchmark."""
    score_files.write(scores, tmp_path / "scores.tsv")
    score_files.write_failures([], tmp_path / "failures.json")
    routes, shares = {"approved": 8, "unknown": 2}, {"approved": 0.95, "unknown": 0.05}
    samples = {"s": SampleCells(kept=40, empty=0, too_few_genes=2)}
    report = Harmonisation("blood", 10, 8, 0, 2, 1, 0.95, routes, shares, [("MALAT1", 0.05)], samples, 0.8)
    harmonisation.write(report, tmp_path / "blood.harmonisation.json")
    return listed(
        catalogue=catalogue_file,
        scores=tmp_path / "scores.tsv",
        failures=tmp_path / "failures.json",
        harmonisation=[tmp_path / "blood.harmonisation.json"],
        shards=training.path / "manifest.json",
        cells=[training.path / "cells.h5ad"],
    )


def drawn(folder, figure, inputs):
    report_figure(figure=figure, png=folder / "f.png", pdf=folder / "f.pdf", stage="figure-7", **inputs)
    assert (folder / "f.pdf").read_bytes().startswith(b"%PDF")
    return (folder / "f.png").read_bytes()


@pytest.mark.parametrize(
    ("table", "n_rows"),
    [
        *(("main", 12), ("comparisons", 6), ("claims", 0), ("costs", 12), ("failures", 0), ("controls", 12)),
        *(("corpus", 1), ("harmonisation", 1)),
    ],
)
def test_a_table_is_written_as_a_page_and_as_rows(tmp_path, inputs, table, n_rows):
    files = Page(html=tmp_path / "t.html", tsv=tmp_path / "t.tsv", title="A title", caption="How to read it.")
    report_table(table=table, page=files, **inputs)
    page = files.html.read_text(encoding="utf-8")
    assert "<h1>A title</h1>" in page
    assert "<p>How to read it.</p>" in page
    assert len(files.tsv.read_text(encoding="utf-8").splitlines()) == n_rows + 1


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        pytest.param("maim", listed(), "did you mean main", id="unknown"),
        pytest.param("costs", listed(), "no scores, catalogue", id="input missing"),
        pytest.param("costs", listed(scoers="s.tsv"), "did you mean scores", id="unknown input"),
        pytest.param("per_drug", listed(), "no runs, catalogue", id="inputs of a subject missing"),
    ],
)
def test_an_unknown_item_and_a_missing_input_are_named(tmp_path, name, given, message):
    with pytest.raises(InputError, match=message):
        report_table(table=name, page=Page(html=tmp_path / "t.html", tsv=tmp_path / "t.tsv"), **given)


def test_the_page_of_details_has_all_its_tables_and_the_rows_of_each_stand_beside_it(tmp_path, inputs):
    page = Page(html=tmp_path / "details.html", tsv=tmp_path / "details.tsv", rows=tmp_path / "rows")
    report_table(table="details", page=page, **inputs, recipes=["{}"])
    names = ["spread", "classes", "choices"]
    text = page.html.read_text(encoding="utf-8")
    assert all(f'<h2 id="{name}">' in text for name in ["config", *names])
    assert {path.stem for path in page.rows.iterdir()} == set(names)
    assert page.tsv.read_text().startswith("key\tvalue")


@pytest.mark.parametrize("figure", ["scores", "fewshot"])
def test_a_figure_is_drawn_and_says_what_made_it(tmp_path, inputs, figure):
    assert b"figure-7" in drawn(tmp_path, figure, inputs)


def test_curves_of_several_runs_are_drawn(tmp_path, inputs):
    paths = [tmp_path / "celllm/seed0/history.jsonl", tmp_path / "scbert/seed0/history.jsonl"]
    for path in paths:
        history.write([{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0}], path)
    assert b"scbert/seed0" in drawn(tmp_path, "curves", listed(shards=inputs["shards"], history=paths))


@pytest.fixture
def runs_of(tmp_path, made_of):
    """Write the runs of a method on blood, one finished and one failed, or both failed."""

    def write(method="celllm", *, has_failed=False):
        table = pd.DataFrame(
            {
                "unit": ["a", "b", "c"],
                "truth": ["B", "T", "rare"],
                "predicted": ["B", "B", "T"],
                "score:B": [0.9, 0.8, 0.1],
                "score:T": [0.1, 0.2, 0.9],
            },
        )
        path = tmp_path / f"{method}{has_failed}/runs.json"
        meta = made_of(task="blood", method=method, n_test=3)
        predictions.write(table, meta, run_files.predictions_path(path, split=0, seed=0))
        failures = tuple(
            Failure("blood", method, split, 0, 137, "killed", "logs/fit.log") for split in range(1 - has_failed, 2)
        )
        finished = () if has_failed else ((0, 0),)
        run_files.write(Runs("blood", method, finished, failures, {}), path)
        return path

    return write


def test_a_failed_run_is_passed_over_and_where_all_failed_the_figure_says_so(tmp_path, catalogue_file, runs_of):
    one, none = (
        listed(catalogue=catalogue_file, runs=[runs_of(has_failed=has_failed)]) for has_failed in (False, True)
    )
    figure = "confusion/blood/celllm"
    assert len(drawn(tmp_path, figure, none)) < len(drawn(tmp_path, figure, one))


def test_predictions_of_two_methods_are_not_pooled(tmp_path, catalogue_file, runs_of):
    given = listed(catalogue=catalogue_file, runs=[runs_of(), runs_of("logistic")])
    with pytest.raises(InputError, match="blood, celllm, classification"):
        drawn(tmp_path, "confusion/blood/celllm", given)


@pytest.mark.slow
def test_embeddings_are_drawn_beside_principal_components(tmp_path, inputs, training, generator):
    path = tmp_path / "celllm/blood.parquet"
    n_cells = training.cells.n_obs
    embeddings.write(list(training.cells.obs_names), generator.normal(size=(n_cells, 8)), ["x"] * n_cells, path)
    given = listed(catalogue=inputs["catalogue"], embeddings=path, cells=inputs["cells"])
    assert drawn(tmp_path, "umap/blood", given).startswith(b"\x89PNG")


def test_embeddings_of_other_cells_are_refused(tmp_path, inputs):
    embeddings.write(["gland:0"], np.ones((1, 8)), [""], tmp_path / "e.parquet")
    given = listed(catalogue=inputs["catalogue"], embeddings=tmp_path / "e.parquet", cells=inputs["cells"])
    with pytest.raises(InputError, match="such as gland:0"):
        drawn(tmp_path, "umap/blood", given)
