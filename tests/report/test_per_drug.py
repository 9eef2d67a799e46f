"""Each drug's correlation: counted by hand, drawn against the mean of the drug, never without its neighbours."""

import numpy as np
import pandas as pd
import pytest

from celllm.base.errors import InputError
from celllm.bench import predictions, runs
from celllm.bench.runs import Failure, Runs
from celllm.report.commands import plot_per_drug
from celllm.report.per_drug import correlations, draw_per_drug, per_drug_table

TRUTH = [1.0, 2, 3, 1, 2, 3, 7, 8]
METHODS = ("celllm_response", "celllm_scratch_response", "ridge")


def _table(predicted, *, drugs=("x", "x", "x", "y", "y", "y", "z", "z")):
    lines = [str(number) for number in range(len(drugs))]
    return pd.DataFrame({"unit": lines, "truth": TRUTH, "predicted": predicted, "line": lines, "drug": list(drugs)})


UP = _table([1.0, 2, 3, 1, 2, 3, 0, 1])  # x 1, y 1; z has two lines
MIXED = _table([3.0, 2, 1, 1, 3, 2, 0, 1])  # x -1, y 0.5


@pytest.fixture
def values():
    return correlations([("celllm_response", UP), ("celllm_response", MIXED), ("ridge", MIXED)])


def test_each_drug_has_the_mean_over_a_methods_tables(values):
    assert list(values.columns) == ["celllm_response", "ridge"]
    assert list(values.index) == ["x", "y"]
    np.testing.assert_allclose(values, [[0, -1], [0.75, 0.5]])


def test_a_drug_that_one_method_lacks_is_left_out():
    other = _table([3.0, 2, 1, 1, 3, 2, 0, 1], drugs=("x", "x", "x", "v", "v", "v", "w", "w"))

    assert list(correlations([("a", UP), ("b", other)]).index) == ["x"]


def test_the_table_has_a_row_a_drug_and_the_medians_above(values, catalogue):
    table = per_drug_table(values, task="lines", catalogue=catalogue)

    assert table.rows.to_dict("list") == {
        "drug": ["x", "y"],
        "celllm_response": pytest.approx([0, 0.75]),
        "ridge": pytest.approx([-1, 0.5]),
    }
    assert "Medians: CellLM 0.375; ridge regression -0.250." in table.markdown
    assert "| x      | 0.000    | -1.000" in table.markdown


def test_dots_stand_at_their_values_and_ours_stands_against_ridge(values, catalogue):
    figure = draw_per_drug(values, task="lines", catalogue=catalogue)
    rows, against = figure.axes
    dots = [line.get_xdata() for line in rows.lines if line.get_marker() == "o"]

    np.testing.assert_allclose(dots, [[0, 0.75], [-1, 0.5]], atol=1e-12)
    medians, shares = zip(*(text.get_text().split("  ") for text in rows.texts[:2]), strict=True)
    np.testing.assert_allclose([float(median) for median in medians], [0.375, -0.25], atol=0.005 + 1e-9)
    assert shares == ("(50 %)", "(50 %)")
    (pair,) = [line for line in against.lines if line.get_marker() == "o"]
    np.testing.assert_allclose(pair.get_xydata(), [[-1, 0], [0.5, 0.75]], atol=1e-12)
    assert against.get_title() == "CellLM higher for 2 of 2 drugs"
    assert figure.get_suptitle() == "Drug_response: each of 2 drugs"


@pytest.fixture
def written(tmp_path, made_of):
    """Write predictions and return where."""

    def write(method, table=UP, *, task="lines", seed=0):
        meta = made_of(task=task, method=method, split=seed, kind="regression", n_test=len(table))
        path = tmp_path / task / method / f"{seed}/runs.json"
        predictions.write(table, meta, runs.predictions_path(path, split=seed, seed=0))
        runs.write(Runs(task, method, ((seed, 0),), (), {}), path)
        return str(path)

    return write


def _options(folder, config):
    tables = [part for name in ("tasks", "methods", "datasets") for part in (f"--{name}", str(config[name]))]
    figure = [
        "--task",
        "lines",
        "--tables",
        str(folder / "t"),
        "--png",
        str(folder / "f.png"),
        "--pdf",
        str(folder / "f.pdf"),
    ]
    return [*tables, *figure]


def test_the_command_writes_the_figure_and_the_table(tmp_path, config, written):
    paths = [written(method, seed=seed) for method in METHODS[::-1] for seed in (0, 1)]
    plot_per_drug.main(["--runs", *paths, *_options(tmp_path, config)])

    written = pd.read_csv(tmp_path / "t/lines.tsv", sep="\t")
    assert list(written.columns) == ["drug", *METHODS]  # in the order of the table of methods
    assert written["drug"].tolist() == ["x", "y"]
    assert (tmp_path / "t/lines.md").read_text().startswith("## Drug_response: each drug")
    assert (tmp_path / "f.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "f.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize("missing", METHODS[1:])
def test_an_encoder_without_its_neighbours_is_not_drawn(tmp_path, config, missing, written):
    paths = [written(method) for method in METHODS if method != missing]

    plot_per_drug.main(["--runs", *paths, *_options(tmp_path, config)])
    written = pd.read_csv(tmp_path / "t/lines.tsv", sep="\t")
    assert METHODS[0] not in written.columns


def test_where_all_runs_failed_the_figure_says_so_and_the_table_is_empty(tmp_path, config):
    failed = tmp_path / "runs.json"
    failure = Failure("lines", "ridge", 0, 0, 1, "no", "logs/fit.log")
    runs.write(Runs("lines", "ridge", (), (failure,), {}), failed)
    plot_per_drug.main(["--runs", str(failed), *_options(tmp_path, config)])

    assert len(pd.read_csv(tmp_path / "t/lines.tsv", sep="\t")) == 0
    assert (tmp_path / "f.png").read_bytes().startswith(b"\x89PNG")


def test_predictions_of_two_tasks_are_not_mixed(tmp_path, config, written):
    paths = [written("ridge"), written("ridge", task="other")]

    with pytest.raises(InputError, match="lines, regression"):
        plot_per_drug.main(["--runs", *paths, *_options(tmp_path, config)])


def test_predictions_without_a_drug_of_three_lines_are_refused(tmp_path, config, written):
    path = written("ridge", _table([1.0, 2, 3, 1, 2, 3, 0, 1], drugs="abcdefgh"))

    with pytest.raises(InputError, match="three test lines or more"):
        plot_per_drug.main(["--runs", path, *_options(tmp_path, config)])
