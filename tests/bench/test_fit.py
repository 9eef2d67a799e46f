"""One job of the benchmark: who is shown what, what is written, and what a killed or failing job leaves."""

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from celllm.base.errors import CellLMError, InputError, VocabularyMismatch
from celllm.bench import commands, job, predictions, process, runs
from celllm.bench.method import Classifier
from celllm.config.rows import as_json
from celllm.config.settings import FitBudget
from celllm.config.tables import Method, Task
from celllm.harmonise import cells as counts
from celllm.harmonise import plain
from celllm.harmonise import vocabulary as vocabulary_file
from celllm.sources import responses
from celllm.sources.responses import Responses
from celllm.splits import format as splits
from celllm.splits.format import Split

TYPES = Task(
    task="types",
    kind="classification",
    title="Types",
    dataset="tiny",
    response=None,
    split="random",
    split_seeds=(0, 1, 2),
    train=0.7,
    validation=0.1,
    test=0.2,
    min_class_size=5,
    protocol="clean",
    headline="macro_f1",
)
LINES = replace(TYPES, task="lines", kind="regression", split="pairs", response="tiny", headline="pearson")
LOGISTIC = Method(
    method="logistic",
    kind="classification",
    title="Logistic",
    module="sklearn.linear_model:LogisticRegression",
    encoder=None,
    options={"max_iter": 500},
    search={"C": [1.0, 0.1]},
    seeded=False,
    role="linear_reference",
)
ENCODER = replace(
    LOGISTIC,
    method="celllm",
    module="celllm.bench.methods.annotation:EncoderClassifier",
    encoder="celllm",
    options={"epochs": 1, "batch": 8},
    search={},
)
DRUG_MEAN = replace(
    LOGISTIC,
    method="drug_mean",
    kind="regression",
    module="celllm.bench.methods.cell_lines:DrugMean",
    options={},
    search={},
)


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """Where the files of a job are written once."""
    return tmp_path_factory.mktemp("job")


@pytest.fixture
def folder(template, tmp_path, cells, pairs, parts, vocabulary):
    """The files of a job, in a folder of the test's own."""
    if not any(template.iterdir()):
        _write_files(template, cells, pairs, parts, vocabulary)
    return Path(shutil.copytree(template, tmp_path / "job"))


def _write_files(folder, cells, pairs, parts, vocabulary):
    vocabulary_file.write(vocabulary, folder / "genes.tsv")
    _write_cells(folder / "types.h5ad", cells.counts, cells.labels, cells.cell_ids, "counts", vocabulary)
    blank = np.full(len(pairs.line_ids), "", dtype=object)
    names = [f"tiny:{line}" for line in pairs.line_ids]
    _write_cells(folder / "lines.h5ad", pairs.expression, blank, names, "zscore", vocabulary)
    table = pd.DataFrame(
        {
            "line": pairs.line_ids[pairs.line],
            "drug": np.array(pairs.drugs)[pairs.drug],
            "smiles": np.array(pairs.smiles)[pairs.drug],
            "response": pairs.response,
        }
    )
    responses.write(Responses(table, simulated=True), folder / "responses.parquet")
    subset = np.full(90, "unused", dtype="<U10")
    for name, rows in parts.items():
        subset[rows] = name
    for number in range(3):
        splits.write(Split("types", number, cells.units, subset), folder / f"types{number}.parquet")
    splits.write(Split("lines", 0, pairs.units, subset), folder / "lines0.parquet")


def _write_cells(path, matrix, labels, names, units, genes):
    obs = pd.DataFrame(
        {
            "sample": "s",
            "donor": "s",
            "study": "d",
            "label": labels,
            "is_malignant": 0,
            "n_counts": 1.0,
            "n_genes": 1,
            "cell_hash": "h",
        },
        index=pd.Index(names),
    )
    built = counts.build(
        sparse.csr_matrix(matrix), obs, vocabulary=genes, dataset="tiny", units=units, simulated=False, provenance={}
    )
    counts.write(built, path)


def fit(folder, task=TYPES, method=LOGISTIC, *, n_splits=1, **changes):
    """Run the command; return what became of the runs."""
    out = folder / task.task / method.method / "runs.json"
    given = {
        "cells": folder / f"{task.task}.h5ad",
        "splits": [folder / f"{task.task}{number}.parquet" for number in range(n_splits)],
        "vocabulary": folder / "genes.tsv",
        "responses": folder / "responses.parquet" if task.response else None,
        "log": "logs/fit.log",
        "runs": out,
    }
    commands.fit(task=task, method=method, **{**given, **changes})
    return runs.read(out)


def predicted(folder, task=TYPES, method=LOGISTIC, **changes):
    """Run the command; return the predictions of its first run."""
    fit(folder, task, method, **changes)
    return predictions.read(runs.predictions_path(folder / task.task / method.method / "x", split=0, seed=0))


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


def test_predictions_hold_the_test_subset_with_its_labels_and_its_making(folder, cells, parts, vocabulary):
    table, meta = predicted(folder)

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


def test_a_pair_keeps_its_line_and_drug_and_simulated_responses_are_marked(folder, pairs, parts):
    table, meta = predicted(folder, LINES, DRUG_MEAN)

    assert list(table["unit"]) == [pairs.units[row] for row in parts["test"]]
    assert list(table["line"] + "|" + table["drug"]) == list(table["unit"])
    np.testing.assert_allclose(table["truth"], pairs.response[parts["test"]])
    assert meta.simulated


def test_an_encoder_is_fine_tuned_and_its_digest_recorded(folder, encoder_file):
    _, meta = predicted(folder, method=ENCODER, encoder=encoder_file)

    assert meta.encoder is not None
    assert len(meta.encoder) == 64


@pytest.mark.parametrize("is_control", [False, True])
def test_only_a_control_is_shown_the_test_labels(folder, parts, watching, monkeypatch, is_control):
    monkeypatch.setattr(Watching, "sees_test_labels", is_control)
    fit(folder)

    for call in ("fit", "predict"):
        assert ("" in watching[call][parts["test"]]) == (not is_control)
    np.testing.assert_array_equal(watching["validation"], parts["validation"])


def test_under_compat_the_test_subset_is_what_is_chosen_on_and_no_options_are_tried(folder, parts, watching):
    compat = replace(TYPES, train=0.8, validation=0.0, protocol="compat")
    _, meta = predicted(folder, compat, trials=2)

    np.testing.assert_array_equal(watching["validation"], parts["test"])
    assert "" not in watching["fit"][parts["test"]]
    assert meta.trials == ()


def test_options_are_chosen_on_the_validation_subset_and_recorded(folder):
    _, meta = predicted(folder, trials=2)

    assert [dict(trial.options) for trial in meta.trials] == [{"C": 1.0}, {"C": 0.1}]
    best = max(meta.trials, key=lambda trial: trial.value)
    assert meta.options == {"max_iter": 500, **best.options}


def test_a_class_searches_where_its_row_does_not(folder, encoder_file):
    _, meta = predicted(folder, method=ENCODER, encoder=encoder_file, trials=2)

    assert meta.trials[0].options == {"learning_rate": 0.001}
    assert len(meta.trials) == 2


def test_what_is_fast_tries_all_its_values_and_what_is_slow_its_number_of_trials(folder, encoder_file):
    fast = replace(LOGISTIC, search={"C": [1.0, 0.1, 10.0, 0.01]})
    slow = replace(ENCODER, search={"learning_rate": [1e-3, 3e-4, 3e-3, 1e-2]})

    assert len(predicted(folder, method=fast, trials=2)[1].trials) == 4
    assert len(predicted(folder, method=slow, encoder=encoder_file, trials=2)[1].trials) == 2
    assert predicted(folder, method=fast, trials=1)[1].trials == ()


def test_splits_try_other_values(folder, encoder_file):
    slow = replace(ENCODER, search={"learning_rate": [1e-3, 3e-4, 3e-3, 1e-2, 3e-2, 1e-4]})
    fit(folder, method=slow, encoder=encoder_file, trials=2, n_splits=3)
    metas = [predictions.read(path)[1] for path in runs.predictions_of([folder / "types/celllm/runs.json"])]

    assert len({meta.trials[1].options["learning_rate"] for meta in metas}) > 1
    assert {meta.trials[0].options["learning_rate"] for meta in metas} == {1e-3}


def test_under_compat_the_settings_of_the_released_code_hold(folder, encoder_file):
    compat = replace(TYPES, protocol="compat", train=0.8, validation=0)
    _, meta = predicted(
        folder, compat, replace(ENCODER, compat={"learning_rate": 1e-4, "relu": True}), encoder=encoder_file, trials=2
    )

    assert meta.options == ENCODER.options | {"learning_rate": 1e-4, "relu": True}
    assert meta.shown_units == len(splits.read(folder / "types0.parquet").units_of("train"))


def test_without_validation_nothing_is_chosen(folder):
    split = splits.read(folder / "types0.parquet")
    subsets = np.where(split.subsets == "validation", "unused", split.subsets)
    splits.write(replace(split, subsets=subsets), folder / "types0.parquet")

    _, meta = predicted(folder, trials=2)

    assert meta.trials == ()
    assert meta.options == {"max_iter": 500, "C": 1.0}
    assert meta.n_validation == 0


def test_all_splits_and_seeds_are_run_and_the_data_are_read_once(folder, monkeypatch):
    reads = []
    monkeypatch.setattr(plain, "read", lambda *args, read=plain.read, **named: reads.append(1) or read(*args, **named))

    made = fit(folder, n_splits=3, seeds=[0, 1])

    assert made.finished == ((0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1))
    assert len(reads) == 1
    paths = runs.predictions_of([folder / "types/logistic/runs.json"])
    assert [(meta.split, meta.seed) for _, meta in map(predictions.read, paths)] == list(made.finished)


@pytest.mark.parametrize(
    ("changes", "is_kept"),
    [
        pytest.param({}, True, id="nothing"),
        pytest.param({"method": replace(LOGISTIC, title="Other", role="baseline")}, True, id="a title"),
        pytest.param({"task": replace(TYPES, headline="accuracy")}, False, id="the headline"),
        pytest.param({"method": replace(LOGISTIC, options={"max_iter": 400})}, False, id="an option"),
        pytest.param({"trials": 2}, False, id="the number of trials"),
        pytest.param({"budget": FitBudget(epochs=2)}, False, id="the budget"),
        pytest.param({"stage": "fit-9"}, False, id="the stage"),
    ],
)
def test_a_run_is_made_anew_only_when_what_it_depends_on_changed(folder, changes, is_kept):
    fit(folder)
    path = folder / "types/logistic/split0/seed0/predictions.parquet"
    before = path.stat().st_mtime_ns

    fit(folder, **changes)

    assert (path.stat().st_mtime_ns == before) == is_kept


def test_other_cells_make_a_run_anew(folder, cells, vocabulary):
    fit(folder)
    _write_cells(folder / "types.h5ad", cells.counts * 2, cells.labels, cells.cell_ids, "counts", vocabulary)

    fit(folder)

    path = folder / "types/logistic/split0/seed0/predictions.parquet"
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
def test_a_failing_run_is_recorded_and_the_others_go_on(folder, monkeypatch, capsys, error, status, message):
    with monkeypatch.context() as patched:
        _failing(patched, error, split=1)
        made = fit(folder, n_splits=3)

    (failure,) = made.failures
    assert made.finished == ((0, 0), (2, 0))
    assert (failure.task, failure.method, failure.split, failure.seed) == ("types", "logistic", 1, 0)
    assert (failure.status, failure.message, failure.log) == (status, message, "logs/fit.log")
    assert message.split(": ")[-1] in capsys.readouterr().err
    # and once more: the failed run alone is made
    assert fit(folder, n_splits=3).failures == ()


def test_with_stop_the_first_failing_run_ends_the_job_which_goes_on_from_there(folder, monkeypatch, capsys):
    with monkeypatch.context() as patched:
        _failing(patched, CellLMError("no room"), split=1)
        with pytest.raises(CellLMError, match="no room"):
            fit(folder, n_splits=3, on_failure="stop")

    assert not (folder / "types/logistic/runs.json").exists()
    made = fit(folder, n_splits=3, on_failure="stop")
    assert made.finished == ((0, 0), (1, 0), (2, 0))
    assert capsys.readouterr().out.count("kept") == 1


def test_a_job_that_is_killed_again_and_again_during_a_run_gives_that_run_up(folder, monkeypatch):
    begun = folder / "types/logistic/split1/seed0/attempts"
    _failing(monkeypatch, _Stopped(), split=1)
    with pytest.raises(_Stopped):
        fit(folder, n_splits=2)
    assert not begun.exists()  # an interrupt is no kill
    begun.write_text(str(process.MAX_KILLS))  # what a killed process leaves

    made = fit(folder, n_splits=2)

    (failure,) = made.failures
    assert failure.status == 137
    assert "raise mem_mb of rule fit" in failure.message
    assert not begun.exists()


def test_the_log_begins_with_the_command_that_runs_the_job_again(folder, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["celllm", "fit", "--task", as_json(TYPES)])
    fit(folder)

    first = capsys.readouterr().out.splitlines()[0]
    assert first == f"python -m celllm fit --task '{as_json(TYPES)}'"


@pytest.mark.parametrize(
    ("task", "method", "message"),
    [
        (TYPES, DRUG_MEAN, "kind of drug_mean"),
        (replace(TYPES, response="tiny"), LOGISTIC, "--responses for a regression, and only there"),
    ],
)
def test_what_does_not_belong_together_is_refused(folder, task, method, message):
    changes = {"splits": [folder / "types0.parquet"], "cells": folder / "types.h5ad"}
    with pytest.raises(InputError, match=message):
        fit(folder, task, method, **changes)


@pytest.mark.parametrize("name", ["lines0.parquet", "types1.parquet"])
def test_the_split_of_another_task_or_number_is_refused(folder, name):
    shutil.copy(folder / name, folder / "split0.parquet")

    (failure,) = fit(folder, splits=[folder / "split0.parquet"]).failures

    assert "give results/splits/types/split0.parquet" in failure.message


def test_a_split_that_cannot_be_read_fails_its_own_runs(folder):
    (folder / "types1.parquet").write_bytes(b"no split")
    made = fit(folder, n_splits=3)

    assert [failure.split for failure in made.failures] == [1]
    with pytest.raises(InputError, match=r"split\{number\}.parquet"):
        fit(folder, splits=[folder / "types.parquet"])


def test_a_method_without_its_encoder_fails_and_says_what_to_give(folder):
    (failure,) = fit(folder, method=ENCODER).failures

    assert "--encoder" in failure.message


def test_cells_on_another_vocabulary_are_refused_and_leave_no_predictions(folder, vocabulary):
    other = replace(vocabulary, genes=vocabulary.genes.iloc[::-1])
    vocabulary_file.write(other, folder / "genes.tsv")

    with pytest.raises(VocabularyMismatch):
        fit(folder, on_failure="stop")
    assert not list(folder.rglob("predictions.parquet"))


def test_a_file_that_is_no_record_of_runs_is_refused(tmp_path):
    (tmp_path / "runs.json").write_text('{"task": "types"}')

    with pytest.raises(InputError, match="method"):
        runs.read(tmp_path / "runs.json")
