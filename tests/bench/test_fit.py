"""One job of the benchmark: who is shown what, what is written, and what a killed or failing job leaves."""

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tests.bench.conftest import ROWS

from celllm.base.errors import CellLMError, InputError, VocabularyMismatch
from celllm.bench import commands, job, predictions, process, runs
from celllm.bench.method import Classifier
from celllm.config.rows import as_json
from celllm.config.settings import FitBudget
from celllm.harmonise import cells as counts
from celllm.harmonise import vocabulary as vocabulary_file
from celllm.sources import responses
from celllm.sources.responses import Responses
from celllm.splits import format as splits
from celllm.splits.format import Split

LOGISTIC = replace(ROWS.row("logistic"), options={"max_iter": 500}, search={"C": [1.0, 0.1]})
ENCODER = replace(ROWS.row("celllm"), options={"epochs": 1, "batch": 8}, search={}, compat={})
DRUG_MEAN, MAJORITY = ROWS.row("drug_mean"), ROWS.row("majority")
RATES = {"learning_rate": [1e-3, 3e-4, 3e-3, 1e-2, 3e-2, 1e-4]}
COMPAT = {"protocol": "compat", "train": 0.8, "validation": 0.0}


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """Where the files of a job are written once."""
    return tmp_path_factory.mktemp("job")


@pytest.fixture
def folder(template, tmp_path, cells, pairs, parts, vocabulary, aligned):
    """The files of a job, in a folder of the test's own."""
    if not any(template.iterdir()):
        vocabulary_file.write(vocabulary, template / "genes.tsv")
        aligned(cells.counts, vocabulary, dataset="tiny", label=cells.labels).write_h5ad(template / "types.h5ad")
        lines = aligned(pairs.expression, vocabulary, dataset="tiny", units="zscore", label="")
        lines.obs_names = [f"tiny:{line}" for line in pairs.line_ids]
        lines.write_h5ad(template / "lines.h5ad")
        columns = {"line": pairs.line_ids[pairs.line], "drug": np.array(pairs.drugs)[pairs.drug]}
        columns |= {"smiles": np.array(pairs.smiles)[pairs.drug], "response": pairs.response}
        responses.write(Responses(pd.DataFrame(columns), simulated=True), template / "responses.parquet")
        subset = np.full(90, "unused", dtype="<U10")
        for name, rows in parts.items():
            subset[rows] = name
        for number in range(3):
            splits.write(Split("types", number, cells.units, subset), template / f"types{number}.parquet")
        splits.write(Split("lines", 0, pairs.units, subset), template / "lines0.parquet")
    return Path(shutil.copytree(template, tmp_path / "job"))


@pytest.fixture
def fit(folder, cells_task, pairs_task, request):
    """Run the command for a method and a task with these changes; return what became of the runs."""

    def run(method=LOGISTIC, *, n_splits=1, task=(), **changes):
        task = replace(pairs_task if method.kind == "regression" else cells_task, **dict(task))
        given = {
            "cells": folder / f"{task.task}.h5ad",
            "splits": [folder / f"{task.task}{number}.parquet" for number in range(n_splits)],
            "vocabulary": folder / "genes.tsv",
            "responses": folder / "responses.parquet" if task.response else None,
            "encoder": request.getfixturevalue("encoder_file") if method.encoder else None,
            "log": "logs/fit.log",
            "runs": folder / method.method / "runs.json",
        }
        commands.fit(task=task, method=method, **given | changes)
        return runs.read(given["runs"])

    return run


@pytest.fixture
def predicted(fit, folder):
    """Run the command; return the predictions of its first run."""

    def run(method=LOGISTIC, **changes):
        fit(method, **changes)
        return predictions.read(runs.predictions_path(folder / method.method / "x", split=0, seed=0))

    return run


class Watching(Classifier):
    """Notes what it is shown, and predicts nothing of interest."""

    seen: dict

    def fit(self, cells, train, validation):
        self.classes_ = np.array(["alpha", "beta", "gamma"])
        self.seen["fit"] = cells.labels
        self.seen["validation"] = validation
        assert "" not in cells.labels[train]

    def predict(self, cells, rows):
        self.seen["predict"] = cells.labels
        return np.ones((len(rows), 3))


@pytest.fixture
def watching(monkeypatch):
    """A method in the place of that of any row; what it was shown."""
    Watching.seen = {}
    monkeypatch.setattr(Watching, "sees_test_labels", False)
    monkeypatch.setattr(job, "build", lambda _row, _options, **made_with: Watching({}, **made_with))
    return Watching.seen


def test_predictions_hold_the_test_subset_with_its_labels_and_its_making(predicted, cells, parts, vocabulary):
    table, meta = predicted()

    assert list(table["unit"]) == [cells.units[row] for row in parts["test"]]
    assert list(table["truth"]) == list(cells.labels[parts["test"]])
    columns = [f"score:{name}" for name in ("alpha", "beta", "gamma")]
    assert list(table["predicted"]) == [columns[best][6:] for best in table[columns].to_numpy().argmax(axis=1)]
    assert (meta.task, meta.method, meta.split, meta.seed, meta.kind) == ("types", "logistic", 0, 0, "classification")
    assert not meta.simulated
    assert (meta.vocabulary, meta.encoder, meta.trained_parameters) == (vocabulary.digest, None, 123)
    assert meta.fit_s > 0
    assert meta.peak_mb > 10
    assert set(meta.provenance["inputs"]) == {"cells", "split0", "vocabulary"}


def test_a_pair_keeps_its_line_and_drug_and_simulated_responses_are_marked(predicted, pairs, parts):
    table, meta = predicted(DRUG_MEAN)

    assert list(table["unit"]) == [pairs.units[row] for row in parts["test"]]
    assert list(table["line"] + "|" + table["drug"]) == list(table["unit"])
    np.testing.assert_allclose(table["truth"], pairs.response[parts["test"]])
    assert meta.simulated


@pytest.mark.parametrize("is_control", [False, True])
def test_only_a_control_is_shown_the_test_labels(fit, parts, watching, monkeypatch, is_control):
    monkeypatch.setattr(Watching, "sees_test_labels", is_control)
    fit()

    for call in ("fit", "predict"):
        assert ("" in watching[call][parts["test"]]) == (not is_control)
    np.testing.assert_array_equal(watching["validation"], parts["validation"])


def test_under_compat_the_test_subset_is_what_is_chosen_on_and_no_options_are_tried(predicted, parts, watching):
    _, meta = predicted(task=COMPAT, trials=2)

    np.testing.assert_array_equal(watching["validation"], parts["test"])
    assert "" not in watching["fit"][parts["test"]]
    assert meta.trials == ()


def test_under_compat_the_settings_of_the_released_code_hold(predicted, parts):
    released = {"learning_rate": 1e-4, "relu": True}
    _, meta = predicted(replace(ENCODER, compat=released), task=COMPAT, trials=2)

    assert meta.options == ENCODER.options | released
    assert meta.shown_units == len(parts["train"])


def test_options_are_chosen_on_the_validation_subset_and_recorded(predicted):
    _, meta = predicted(trials=2)

    assert [dict(trial.options) for trial in meta.trials] == [{"C": 1.0}, {"C": 0.1}]
    best = max(meta.trials, key=lambda trial: trial.value)
    assert meta.options == {"max_iter": 500, **best.options}


def test_what_is_fast_tries_all_its_values(predicted):
    fast = replace(LOGISTIC, search={"C": [1.0, 0.1, 10.0, 0.01]})

    assert len(predicted(fast, trials=2)[1].trials) == 4
    assert predicted(fast, trials=1)[1].trials == ()


def test_what_is_slow_tries_other_values_of_its_class_on_each_split(fit, folder):
    fit(ENCODER, trials=2)
    _, meta = predictions.read(runs.predictions_path(folder / "celllm/x", split=0, seed=0))
    fit(replace(ENCODER, search=RATES), trials=2, n_splits=3)
    metas = [predictions.read(path)[1] for path in runs.predictions_of([folder / "celllm/runs.json"])]

    assert len(meta.encoder) == 64
    assert [len(one.trials) for one in (meta, *metas)] == [2] * 4  # a row without values to choose has its class's
    assert {one.trials[0].options["learning_rate"] for one in (meta, *metas)} == {1e-3}
    assert len({one.trials[1].options["learning_rate"] for one in metas}) > 1


def test_without_validation_nothing_is_chosen(predicted, folder):
    split = splits.read(folder / "types0.parquet")
    subsets = np.where(split.subsets == "validation", "unused", split.subsets)
    splits.write(replace(split, subsets=subsets), folder / "types0.parquet")

    _, meta = predicted(trials=2)

    assert (meta.trials, meta.options, meta.n_validation) == ((), {"max_iter": 500, "C": 1.0}, 0)


def test_all_splits_and_seeds_are_run_and_the_data_are_read_once(fit, folder, monkeypatch):
    reads = []
    monkeypatch.setattr(
        counts, "read", lambda *args, read=counts.read, **named: reads.append(1) or read(*args, **named)
    )

    made = fit(MAJORITY, n_splits=3, seeds=[0, 1])

    assert made.finished == ((0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1))
    assert len(reads) == 1
    paths = runs.predictions_of([folder / "majority/runs.json"])
    assert [(meta.split, meta.seed) for _, meta in map(predictions.read, paths)] == list(made.finished)


@pytest.mark.parametrize(
    ("changes", "is_kept"),
    [
        pytest.param({}, True, id="nothing"),
        pytest.param({"method": replace(LOGISTIC, title="Other", role="baseline")}, True, id="a title"),
        pytest.param({"task": {"headline": "accuracy"}}, False, id="the headline"),
        pytest.param({"method": replace(LOGISTIC, options={"max_iter": 400})}, False, id="an option"),
        pytest.param({"trials": 2}, False, id="the number of trials"),
        pytest.param({"budget": FitBudget(epochs=2)}, False, id="the budget"),
        pytest.param({"stage": "fit-9"}, False, id="the stage"),
    ],
)
def test_a_run_is_made_anew_only_when_what_it_depends_on_changed(fit, folder, changes, is_kept):
    fit()
    path = folder / "logistic/split0/seed0/predictions.parquet"
    before = path.stat().st_mtime_ns

    fit(**changes)

    assert (path.stat().st_mtime_ns == before) == is_kept


def test_a_changed_class_and_other_cells_make_a_run_anew(fit, folder, monkeypatch, cells, vocabulary, aligned):
    path = folder / "majority/split0/seed0/predictions.parquet"
    times = []
    for code in ("as it is", "as it is", "changed"):
        monkeypatch.setattr(job, "module_digest", lambda name, code=code: f"{name}: {code}")
        fit(MAJORITY)
        times.append(path.stat().st_mtime_ns)
    assert times[0] == times[1] < times[2]

    aligned(cells.counts * 2, vocabulary, dataset="tiny", label=cells.labels).write_h5ad(folder / "types.h5ad")
    fit(MAJORITY)
    assert predictions.read(path)[1].provenance["inputs"]["cells"] == job.digest(folder / "types.h5ad")


class _Stopped(BaseException):
    """What no handler of errors catches, as a kill."""


def _failing(monkeypatch, error, *, split):
    run = job.Job.run

    def failing(self, one, seed, path):
        if one == split and error is not None:
            raise error
        run(self, one, seed, path)

    monkeypatch.setattr(job.Job, "run", failing)


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (CellLMError("methods.tsv: options\n  expected: any of C"), 2, "methods.tsv: options expected: any of C"),
        (KeyError("x"), 1, "KeyError: 'x'"),
        (MemoryError("no room"), 1, "MemoryError: no room"),
    ],
)
def test_a_failing_run_is_recorded_and_the_others_go_on(fit, monkeypatch, capsys, error, status, message):
    with monkeypatch.context() as patched:
        _failing(patched, error, split=1)
        made = fit(MAJORITY, n_splits=3)

    (failure,) = made.failures
    assert made.finished == ((0, 0), (2, 0))
    assert (failure.task, failure.method, failure.split, failure.seed) == ("types", "majority", 1, 0)
    assert (failure.status, failure.message, failure.log) == (status, message, "logs/fit.log")
    assert message.split(": ")[-1] in capsys.readouterr().err
    # and once more: the failed run alone is made
    assert fit(MAJORITY, n_splits=3).failures == ()


def test_with_stop_the_first_failing_run_ends_the_job_which_goes_on_from_there(fit, folder, monkeypatch, capsys):
    with monkeypatch.context() as patched:
        _failing(patched, CellLMError("no room"), split=1)
        with pytest.raises(CellLMError, match="no room"):
            fit(MAJORITY, n_splits=3, on_failure="stop")

    assert not (folder / "majority/runs.json").exists()
    made = fit(MAJORITY, n_splits=3, on_failure="stop")
    assert made.finished == ((0, 0), (1, 0), (2, 0))
    assert capsys.readouterr().out.count("kept") == 1


def test_a_job_that_is_killed_again_and_again_during_a_run_gives_that_run_up(fit, folder, monkeypatch):
    begun = folder / "majority/split1/seed0/attempts"
    _failing(monkeypatch, _Stopped(), split=1)
    with pytest.raises(_Stopped):
        fit(MAJORITY, n_splits=2)
    assert not begun.exists()  # an interrupt is no kill
    begun.write_text(str(process.MAX_KILLS))  # what a killed process leaves

    (failure,) = fit(MAJORITY, n_splits=2).failures

    assert failure.status == 137
    assert "raise mem_mb of rule fit" in failure.message
    assert not begun.exists()


def test_the_log_begins_with_the_command_that_runs_the_job_again(fit, cells_task, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["celllm", "fit", "--task", as_json(cells_task)])
    fit(MAJORITY)

    first = capsys.readouterr().out.splitlines()[0]
    assert first == f"python -m celllm fit --task '{as_json(cells_task)}'"


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ({"kind": "regression", "split": "pairs", "response": "tiny", "headline": "pearson"}, "kind of logistic"),
        ({"response": "tiny"}, "--responses for a regression, and only there"),
    ],
)
def test_what_does_not_belong_together_is_refused(fit, task, message):
    with pytest.raises(InputError, match=message):
        fit(task=task)


@pytest.mark.parametrize("name", ["lines0.parquet", "types1.parquet"])
def test_the_split_of_another_task_or_number_is_refused(fit, folder, name):
    shutil.copy(folder / name, folder / "split0.parquet")

    (failure,) = fit(splits=[folder / "split0.parquet"]).failures

    assert "give results/splits/types/split0.parquet" in failure.message


def test_a_split_that_cannot_be_read_fails_its_own_runs(fit, folder):
    (folder / "types1.parquet").write_bytes(b"no split")
    made = fit(MAJORITY, n_splits=3)

    assert [failure.split for failure in made.failures] == [1]
    with pytest.raises(InputError, match=r"split\{number\}.parquet"):
        fit(MAJORITY, splits=[folder / "types.parquet"])


def test_cells_on_another_vocabulary_are_refused_and_leave_no_predictions(fit, folder, vocabulary):
    other = replace(vocabulary, genes=vocabulary.genes.iloc[::-1])
    vocabulary_file.write(other, folder / "genes.tsv")

    with pytest.raises(VocabularyMismatch):
        fit(on_failure="stop")
    assert not list(folder.rglob("predictions.parquet"))


def test_a_file_that_is_no_record_of_runs_is_refused(tmp_path):
    (tmp_path / "runs.json").write_text('{"task": "types"}')

    with pytest.raises(InputError, match=r"runs.json: method(.|\n)*found: *nothing"):
        runs.read(tmp_path / "runs.json")
