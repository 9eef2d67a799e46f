from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from celllm.base.errors import InputError, VocabularyMismatch
from celllm.bench import predictions
from celllm.bench.commands import fit
from celllm.bench.method import Classifier
from celllm.harmonise import cells as counts
from celllm.harmonise import vocabulary
from celllm.sources import responses
from celllm.sources.responses import Responses
from celllm.splits import format as splits
from celllm.splits.format import Split

TASKS = """task kind title dataset response split split_seeds train validation test min_class_size protocol headline
types classification Types tiny - random 0-4 0.7 0.1 0.2 5 clean macro_f1
lines regression Lines tiny tiny pairs 0-4 0.8 0.1 0.1 0 clean pearson
"""
METHODS = """method kind title module encoder options search seeded role
logistic classification Logistic celllm.bench.methods.logistic:LogisticRegressionOnGenes - - {"C":[1,0.1]} no neighbour
leaked classification Leaked celllm.bench.methods.controls:LeakedLabels - - - no control
celllm classification CellLM celllm.bench.methods.annotation:EncoderClassifier celllm {"epochs":1,"batch":8} - yes ours
drug_mean regression Mean celllm.bench.methods.cell_lines:DrugMean - - - no trivial
leaked_pairs regression Leaked celllm.bench.methods.cell_lines:LeakedResponses - - - no control
"""


@pytest.fixture
def folder(tmp_path, cells, pairs, parts):
    for name, text in (("tasks", TASKS), ("methods", METHODS)):
        lines = [line.replace(" ", "\t") for line in text.splitlines()]
        (tmp_path / f"{name}.tsv").write_text("\n".join(lines) + "\n")
    genes = _genes()
    vocabulary.write(genes, tmp_path / "genes.tsv")
    _write_cells(tmp_path / "cells.h5ad", cells.counts, cells.labels, cells.cell_ids, "counts", genes)
    blank = np.full(len(pairs.line_ids), "", dtype=object)
    names = [f"tiny:{line}" for line in pairs.line_ids]
    _write_cells(tmp_path / "lines.h5ad", pairs.expression, blank, names, "zscore", genes)
    table = pd.DataFrame(
        {
            "line": pairs.line_ids[pairs.line],
            "drug": np.array(pairs.drugs)[pairs.drug],
            "smiles": np.array(pairs.smiles)[pairs.drug],
            "response": pairs.response,
        }
    )
    responses.write(Responses(table, simulated=True), tmp_path / "responses.parquet")
    part = np.full(90, "unused", dtype="<U10")
    for name, rows in parts.items():
        part[rows] = name
    splits.write(Split("types", 0, cells.units, part), tmp_path / "types.parquet")
    splits.write(Split("lines", 0, pairs.units, part), tmp_path / "lines.parquet")
    return tmp_path


def _genes():
    names = [f"GENE{number:02d}" for number in range(40)]
    return vocabulary.Vocabulary(pd.DataFrame({"symbol": names, "hgnc_id": names, "ensembl": "", "entrez": ""}))


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


def run_fit(folder, task, method, *extra):
    out = folder / f"{task}-{method}.parquet"
    cells = "cells.h5ad" if task == "types" else "lines.h5ad"
    argv = ["--task", task, "--tasks", f"{folder}/tasks.tsv", "--method", method, "--methods", f"{folder}/methods.tsv"]
    argv += [
        "--cells",
        f"{folder}/{cells}",
        "--split",
        f"{folder}/{task}.parquet",
        "--vocabulary",
        f"{folder}/genes.tsv",
    ]
    argv += ["--responses", f"{folder}/responses.parquet"] if task == "lines" else []
    fit.main([*argv, "--seed", "0", "--predictions", str(out), *extra])
    return out


def test_predictions_hold_the_test_part_with_its_true_labels_and_its_making(folder, cells, parts):
    table, meta = predictions.read(run_fit(folder, "types", "logistic"))

    assert list(table["unit"]) == [cells.units[row] for row in parts["test"]]
    assert list(table["truth"]) == list(cells.labels[parts["test"]])
    columns = [f"score:{name}" for name in ("alpha", "beta", "gamma")]
    assert list(table["predicted"]) == [columns[best][6:] for best in table[columns].to_numpy().argmax(axis=1)]
    assert (meta.task, meta.method, meta.seed, meta.kind, meta.simulated) == (
        "types",
        "logistic",
        0,
        "classification",
        False,
    )
    assert meta.vocabulary == _genes().digest
    assert meta.encoder is None
    assert meta.trained_parameters == 123
    assert meta.fit_s > 0
    assert meta.peak_mb > 10
    assert set(meta.provenance["inputs"]) == {"cells", "split", "vocabulary"}


def test_a_pair_keeps_its_line_and_drug_and_simulated_responses_are_marked(folder, pairs, parts):
    table, meta = predictions.read(run_fit(folder, "lines", "drug_mean"))

    assert list(table["unit"]) == [pairs.units[row] for row in parts["test"]]
    assert list(table["line"] + "|" + table["drug"]) == list(table["unit"])
    np.testing.assert_allclose(table["truth"], pairs.response[parts["test"]])
    assert meta.simulated


def test_an_encoder_is_fine_tuned_and_its_digest_recorded(folder, encoder_file):
    _, meta = predictions.read(run_fit(folder, "types", "celllm", "--encoder", str(encoder_file)))

    assert meta.encoder is not None
    assert len(meta.encoder) == 64


@pytest.mark.parametrize("method", ["logistic", "leaked"])
def test_only_a_control_is_shown_the_test_labels(folder, cells, parts, method, monkeypatch):
    seen = []

    class Watching(Classifier):
        sees_test_labels = method == "leaked"
        classes_ = np.array(["alpha", "beta", "gamma"])
        trained_parameters = 0

        def fit(self, cells, train, validation):
            seen.append(set(cells.labels[parts["test"]]))
            assert "" not in cells.labels[np.concatenate([train, validation])]

        def predict(self, cells, rows):
            seen.append(set(cells.labels[rows]))
            return np.ones((len(rows), 3))

    monkeypatch.setattr(fit, "build", lambda *_, **__: Watching())
    run_fit(folder, "types", method)

    expected = set(cells.labels) if method == "leaked" else {""}
    assert seen == [expected, expected]


def test_options_are_chosen_on_the_validation_part_and_recorded(folder):
    _, meta = predictions.read(run_fit(folder, "types", "logistic", "--trials", "2"))

    assert [dict(trial.options) for trial in meta.trials] == [{"C": 1.0}, {"C": 0.1}]
    best = max(meta.trials, key=lambda trial: trial.value)
    assert meta.options == best.options


def test_without_validation_nothing_is_chosen(folder, cells):
    split = splits.read(folder / "types.parquet")
    parts = np.where(split.parts == "validation", "unused", split.parts)
    splits.write(replace(split, parts=parts), folder / "types.parquet")

    _, meta = predictions.read(run_fit(folder, "types", "logistic", "--trials", "2"))

    assert meta.trials == ()
    assert meta.options == {"C": 1.0}
    assert meta.n_validation == 0


def _watching(seen, parts):
    class Watching(Classifier):
        sees_test_labels = False
        classes_ = np.array(["alpha", "beta", "gamma"])
        trained_parameters = 0

        def fit(self, cells, train, validation):
            seen["validation"] = validation
            seen["labels"] = set(cells.labels[parts["test"]])

        def predict(self, cells, rows):
            return np.ones((len(rows), 3))

    return Watching()


def test_under_compat_the_test_part_is_what_is_chosen_on_and_no_options_are_tried(folder, cells, parts, monkeypatch):
    table = (folder / "tasks.tsv").read_text()
    (folder / "tasks.tsv").write_text(table.replace("0.7\t0.1\t0.2\t5\tclean", "0.8\t0\t0.2\t5\tcompat"))
    seen: dict = {}
    monkeypatch.setattr(fit, "build", lambda *_, **__: _watching(seen, parts))

    _, meta = predictions.read(run_fit(folder, "types", "logistic", "--trials", "2"))

    np.testing.assert_array_equal(seen["validation"], parts["test"])
    assert "" not in seen["labels"]
    assert meta.trials == ()


def test_under_clean_the_validation_part_is_apart_from_the_test_part(folder, parts, monkeypatch):
    seen: dict = {}
    monkeypatch.setattr(fit, "build", lambda *_, **__: _watching(seen, parts))

    run_fit(folder, "types", "logistic")

    np.testing.assert_array_equal(seen["validation"], parts["validation"])
    assert seen["labels"] == {""}


def test_the_log_begins_with_the_command_that_runs_the_cell_again(folder, capsys):
    run_fit(folder, "types", "logistic")

    first = capsys.readouterr().out.splitlines()[0]
    assert first.startswith("python -m celllm fit --task types")
    assert first.endswith(f"--predictions {folder}/types-logistic.parquet")


@pytest.mark.parametrize(
    ("task", "method", "message"),
    [
        ("typos", "logistic", "did you mean types"),
        ("types", "logistics", "did you mean logistic"),
        ("types", "drug_mean", "kind of drug_mean"),
        ("types", "celllm", "--encoder"),
    ],
)
def test_wrong_names_and_kinds_are_refused_with_a_hint(folder, task, method, message):
    with pytest.raises(InputError, match=message):
        run_fit(folder, task, method)


def test_the_split_of_another_task_is_refused(folder):
    (folder / "types.parquet").unlink()
    (folder / "lines.parquet").rename(folder / "types.parquet")

    with pytest.raises(InputError, match="results/splits/types/split0"):
        run_fit(folder, "types", "logistic")


def test_cells_on_another_vocabulary_are_refused_and_leave_no_predictions(folder):
    genes = _genes()
    vocabulary.write(replace(genes, genes=genes.genes.iloc[::-1]), folder / "genes.tsv")

    with pytest.raises(VocabularyMismatch):
        run_fit(folder, "types", "logistic")
    assert not (folder / "types-logistic.parquet").exists()
