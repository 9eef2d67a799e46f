"""config/*.tsv: read into rows, and refused by message."""

import pytest

from celllm.base.errors import InputError
from celllm.config import tables

# By table: header, and a row that is right.
ROWS = {
    "datasets": (
        "dataset title role reader units simulated label_column sample_column malignancy min_genes citation licence",
        "blood Blood task h5ad counts no cell_type - normal 200 - -",
    ),
    "files": ("dataset file url bytes sha256 sample", "d a.txt - 3 - -"),
    "tasks": (
        "task kind title dataset response split split_seeds train validation test min_class_size protocol headline",
        "t classification T blood - random 0-2 0.7 0.1 0.2 10 clean macro_f1",
    ),
    "methods": (
        "method kind title module encoder options search seeded role",
        'm classification M celllm.bench.methods.m - {"mode":"probe","c":1.0} - no baseline',
    ),
    "claims": ("claim source task method metric paper tolerance", "a abstract x+y celllm macro_f1 0.7 0.02"),
}


def read(folder, table, *changes, header="", encoding="utf-8"):
    """Read a table of one row for each of `changes`, values by column; without any, of the row that is right."""
    columns, right = (text.split() for text in ROWS[table])
    rows = [dict(zip(columns, right, strict=True)) | change for change in changes or ({},)]
    columns = header.split() or columns
    text = "\n".join("\t".join(line) for line in [columns, *([row[name] for name in columns] for row in rows)])
    (folder / f"{table}.tsv").write_bytes(f"{text}\n".encode(encoding))
    return getattr(tables, f"read_{table}")(folder / f"{table}.tsv")


def test_a_dash_means_none_and_columns_may_stand_in_any_order(tmp_path):
    found = read(tmp_path, "datasets")
    row = found.row("blood")
    assert (row.sample_column, row.label_column, row.min_genes, row.simulated) == (None, "cell_type", 200, False)
    turned = read(tmp_path, "datasets", header=" ".join(reversed(ROWS["datasets"][0].split())))
    assert turned.rows == found.rows


def test_an_unknown_name_is_answered_with_the_nearest(tmp_path):
    with pytest.raises(InputError, match=r"(?s)datasets\.tsv: dataset.*one of blood.*'blod'.*did you mean blood\?"):
        read(tmp_path, "datasets").row("blod")


def test_empty_columns_at_the_end_are_passed_over(tmp_path):
    found = read(tmp_path, "datasets")
    path = tmp_path / "datasets.tsv"
    path.write_text("".join(f"{line}\t\t\n" for line in path.read_text().splitlines()))
    assert tables.read_datasets(path).rows == found.rows


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(None, "no such file", id="no file"),
        pytest.param("dataset\ttitle\n", r"column role\n.*no column role", id="missing column"),
        pytest.param(
            ROWS["datasets"][0].replace(" ", "\t") + "\tlicenze\n",
            r"column licenze.*did you mean licence\?",
            id="misspelt column",
        ),
        pytest.param(
            "\n".join(text.replace(" ", "\t") for text in (*ROWS["datasets"], "a b")),
            r"line 3.*12 cells.*found: +2",
            id="too few cells",
        ),
    ],
)
def test_what_is_no_table_of_these_columns_is_refused(tmp_path, content, message):
    if content is not None:
        (tmp_path / "datasets.tsv").write_text(content)
    with pytest.raises(InputError, match=f"(?s){message}"):
        tables.read_datasets(tmp_path / "datasets.tsv")


def test_a_table_that_is_not_utf_8_is_refused_by_line(tmp_path):
    with pytest.raises(InputError, match=r"(?s)line 2.*text in UTF-8.*0xf6"):
        read(tmp_path, "datasets", {"title": "Köln"}, encoding="latin-1")


@pytest.mark.parametrize(("table", "name"), [("datasets", "blood"), ("files", r"d a\.txt"), ("claims", "a")])
def test_a_row_that_occurs_twice_is_refused(tmp_path, table, name):
    with pytest.raises(InputError, match=f"{name} in lines 2 and 3"):
        read(tmp_path, table, {}, {})


def test_a_dataset_may_have_several_files(tmp_path):
    second = {"file": "b.txt", "url": "https://b", "bytes": "-", "sha256": "f" * 64, "sample": "s"}
    rows = read(tmp_path, "files", {}, second).of("d")
    found = [(row.file, row.url, row.bytes, row.sample) for row in rows]
    assert found == [("a.txt", None, 3, None), ("b.txt", "https://b", None, "s")]


@pytest.mark.parametrize(
    ("table", "changes", "message"),
    [
        ("datasets", {"role": "tsk"}, r"role of blood \(line 2\).*'tsk'.*did you mean task\?"),
        ("datasets", {"units": "count"}, r"did you mean counts\?"),
        ("datasets", {"simulated": "maybe"}, "valid boolean"),
        ("datasets", {"malignancy": "obs:disease_state"}, "obs:COLUMN:VALUE"),
        ("datasets", {"min_genes": "-1"}, "a whole number, 0 or more"),
        ("datasets", {"title": "-"}, "valid string"),
        ("datasets", {"simulated": "yes"}, "the word simulated in the name and in the title"),
        *(
            ("datasets", {"dataset": name}, "dataset of .*letters, digits")
            for name in ("my data", "luad(T34)", "a/b", "-x")
        ),
        ("files", {"sha256": "abc"}, "64 hexadecimal digits"),
        ("files", {"file": "/abs/mine.h5ad"}, "file of d.*the mirror says in which folder"),
        *(("tasks", {"split_seeds": seeds}, "seeds, each once") for seeds in ("3-0", "-", "a", "1 1", "0-b")),
        ("tasks", {"train": "0.9"}, r"0\.9 \+ 0\.1 \+ 0\.2 = 1\.2"),
        ("tasks", {"protocol": "compat"}, "validation 0 under the protocol compat"),
        ("tasks", {"protocol": "clear"}, "did you mean clean"),
        ("tasks", {"split": "donors"}, "with test 0"),
        ("tasks", {"train": "0"}, "train and test shares above 0"),
        ("tasks", {"test": "0"}, "train and test shares above 0"),
        ("tasks", {"headline": "macro_f2"}, "a metric of classification: accuracy, macro_f1"),
        ("tasks", {"headline": "rmse"}, "a metric of classification"),
        ("tasks", {"split": "lines"}, "a split of classification: random, donors"),
        ("methods", {"role": "upper_contrl"}, r"did you mean upper_control\?"),
        ("methods", {"options": "mode=probe"}, "a JSON object"),
        ("methods", {"search": '{"C": 1.0}'}, "lists of different values"),
        ("methods", {"search": '{"C": []}'}, "lists of different values"),
        ("methods", {"search": '{"C": [1.0, 1.0]}'}, "lists of different values"),
        ("methods", {"search": '{"mode": ["probe"]}'}, "not in both: mode"),
        ("claims", {"paper": "71.8"}, "claims.tsv: paper of a"),
        ("claims", {"paper": ""}, "claims.tsv: paper of a"),
        ("claims", {"tolerance": "-0.1"}, "claims.tsv: tolerance of a"),
    ],
)
def test_a_wrong_cell_is_refused_by_row_and_column(tmp_path, table, changes, message):
    with pytest.raises(InputError, match=f"(?s){message}"):
        read(tmp_path, table, changes)


@pytest.mark.parametrize(("cell", "seeds"), [("0-3", (0, 1, 2, 3)), ("42", (42,)), ("0 7", (0, 7))])
def test_split_seeds_are_a_range_or_numbers(tmp_path, cell, seeds):
    row = read(tmp_path, "tasks", {"split_seeds": cell}).row("t")
    assert (row.split_seeds, row.train, row.response) == (seeds, 0.7, None)


def test_a_role_that_one_method_of_a_kind_may_have_is_not_given_twice(tmp_path):
    with pytest.raises(InputError, match=r"found: *m and n"):
        read(tmp_path, "methods", *({"method": name, "role": "linear_reference"} for name in "mn"))


def test_options_of_a_method_are_objects_and_those_to_choose_from_lists(tmp_path):
    method = read(tmp_path, "methods", {"search": '{"C": [1.0, 0.1]}'}).row("m")
    assert (method.options, method.search) == ({"mode": "probe", "c": 1.0}, {"C": [1.0, 0.1]})
    assert (method.encoder, method.seeded) == (None, False)


def test_a_mean_over_two_tasks_names_both(tmp_path):
    assert read(tmp_path, "claims").row("a").tasks == ("x", "y")


def test_every_file_that_is_shipped_belongs_to_a_dataset_and_has_a_checksum_if_its_size_is_known(root):
    datasets = tables.read_datasets(root / "config/datasets.tsv")
    files = tables.read_files(root / "config/files.tsv")
    assert set(files.names) == {row.dataset for row in datasets if not row.simulated}
    assert all(row.simulated == row.dataset.startswith("simulated_") for row in datasets)
    tasks = tables.read_tasks(root / "config/tasks.tsv")
    assert {task.dataset for task in tasks} | {task.response for task in tasks} <= {*datasets.names, None}
    for row in files:
        assert (row.bytes is None) == (row.sha256 is None), row


def test_every_shipped_claim_names_tasks_and_a_method_of_one_kind_and_quotes_the_abstract(root):
    tasks = tables.read_tasks(root / "config/tasks.tsv")
    methods = tables.read_methods(root / "config/methods.tsv")
    shipped = tables.read_claims(root / "config/claims.tsv")
    kinds = [{tasks.row(task).kind for task in claim.tasks} | {methods.row(claim.method).kind} for claim in shipped]
    assert all(len(kind) == 1 for kind in kinds)
    quoted = {claim.claim: claim.paper for claim in shipped}
    for part, celllm, scbert in (
        ("annotation", 0.718, 0.688),
        ("drug-fewshot", 0.889, 0.806),
        ("cell-line", 0.934, 0.872),
    ):
        assert (quoted[f"{part}-celllm"], quoted[f"{part}-scbert"]) == (celllm, scbert)
