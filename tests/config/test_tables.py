"""config/*.tsv: read into rows, and refused by message."""

import pytest

from celllm.base.errors import InputError
from celllm.config import tables

DATASETS = "dataset title role reader units simulated label_column sample_column malignancy min_genes citation licence"
CELLS = ["blood", "Blood", "task", "h5ad", "counts", "no", "cell_type", "-", "normal", "200", "-", "-"]
FILES = "dataset file url bytes sha256 sample"
TASKS = "task kind title dataset response split split_seeds train validation test min_class_size protocol headline"
TASK = ["t", "classification", "T", "blood", "-", "random", "0-2", "0.7", "0.1", "0.2", "10", "clean", "macro_f1"]
METHODS = "method kind title module encoder options search seeded role"
METHOD = [
    "m",
    "classification",
    "M",
    "celllm.bench.methods.m",
    "-",
    '{"mode": "probe", "c": 1.0}',
    "-",
    "no",
    "baseline",
]


def write(path, header, *rows):
    path.write_text("\n".join("\t".join(row) for row in [header.split(), *rows]) + "\n", encoding="utf-8")
    return path


def with_cell(row, header, column, value):
    return [value if name == column else cell for name, cell in zip(header.split(), row, strict=True)]


def test_a_dash_means_none(tmp_path):
    row = tables.read_datasets(write(tmp_path / "datasets.tsv", DATASETS, CELLS)).row("blood")
    assert row.sample_column is None
    assert row.label_column == "cell_type"
    assert row.min_genes == 200
    assert row.simulated is False


def test_columns_may_stand_in_any_order(tmp_path):
    header = " ".join(reversed(DATASETS.split()))
    turned = write(tmp_path / "turned.tsv", header, CELLS[::-1])
    straight = write(tmp_path / "straight.tsv", DATASETS, CELLS)
    assert tables.read_datasets(turned).rows == tables.read_datasets(straight).rows


def test_an_unknown_name_is_answered_with_the_nearest(tmp_path):
    table = tables.read_datasets(write(tmp_path / "datasets.tsv", DATASETS, CELLS))
    with pytest.raises(InputError, match=r"(?s)datasets\.tsv: dataset.*one of blood.*'blod'.*did you mean blood\?"):
        table.row("blod")


def test_a_missing_column_is_named(tmp_path):
    path = write(tmp_path / "datasets.tsv", DATASETS.replace(" min_genes", ""), CELLS[:9] + CELLS[10:])
    with pytest.raises(InputError, match=r"datasets\.tsv: column min_genes"):
        tables.read_datasets(path)


def test_a_misspelt_column_is_named_with_the_nearest(tmp_path):
    path = write(tmp_path / "datasets.tsv", f"{DATASETS} licenze", [*CELLS, "-"])
    with pytest.raises(InputError, match=r"(?s)column licenze.*did you mean licence\?"):
        tables.read_datasets(path)


def test_a_missing_table_is_named(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        tables.read_tasks(tmp_path / "tasks.tsv")


def test_a_row_with_too_few_cells_is_named_by_its_line(tmp_path):
    with pytest.raises(InputError, match=r"(?s)line 3.*12 cells.*found: +11"):
        tables.read_datasets(write(tmp_path / "datasets.tsv", DATASETS, CELLS, ["other", *CELLS[2:]]))


def test_a_row_that_occurs_twice_is_refused(tmp_path):
    with pytest.raises(InputError, match="blood in lines 2 and 3"):
        tables.read_datasets(write(tmp_path / "datasets.tsv", DATASETS, CELLS, CELLS))


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        pytest.param("role", "tsk", r"(?s)role of blood \(line 2\).*'tsk'.*did you mean task\?", id="role"),
        pytest.param("units", "count", r"did you mean counts\?", id="units"),
        pytest.param("simulated", "maybe", "valid boolean", id="simulated"),
        pytest.param("malignancy", "obs:disease_state", "obs:COLUMN:VALUE", id="malignancy"),
        pytest.param("min_genes", "-1", "a whole number, 0 or more", id="min_genes"),
        pytest.param("title", "-", "valid string", id="title"),
    ],
)
def test_a_wrong_cell_of_datasets_is_named(tmp_path, column, value, message):
    path = write(tmp_path / "datasets.tsv", DATASETS, with_cell(CELLS, DATASETS, column, value))
    with pytest.raises(InputError, match=message):
        tables.read_datasets(path)


def test_simulated_data_must_be_called_simulated(tmp_path):
    path = write(tmp_path / "datasets.tsv", DATASETS, with_cell(CELLS, DATASETS, "simulated", "yes"))
    with pytest.raises(InputError, match="the word simulated in the name and in the title"):
        tables.read_datasets(path)


def test_a_dataset_may_have_several_files_and_each_once(tmp_path):
    header = "dataset file url bytes sha256 sample"
    first, second = ["d", "a.txt", "-", "3", "-", "-"], ["d", "b.txt", "https://b", "-", "f" * 64, "s"]
    rows = tables.read_files(write(tmp_path / "files.tsv", header, first, second)).of("d")
    assert [(row.file, row.url, row.bytes, row.sample) for row in rows] == [
        ("a.txt", None, 3, None),
        ("b.txt", "https://b", None, "s"),
    ]
    with pytest.raises(InputError, match=r"d a\.txt in lines 2 and 3"):
        tables.read_files(write(tmp_path / "files.tsv", header, first, first))


def test_a_checksum_that_is_none_is_refused(tmp_path):
    path = write(tmp_path / "files.tsv", "dataset file url bytes sha256 sample", ["d", "a", "-", "3", "abc", "-"])
    with pytest.raises(InputError, match="64 hexadecimal digits"):
        tables.read_files(path)


def test_shares_above_one_are_refused(tmp_path):
    row = tables.read_tasks(write(tmp_path / "tasks.tsv", TASKS, TASK)).row("t")
    assert (row.train, row.validation, row.test, row.response) == (0.7, 0.1, 0.2, None)
    with pytest.raises(InputError, match=r"0\.9 \+ 0\.1 \+ 0\.2 = 1\.2"):
        tables.read_tasks(write(tmp_path / "tasks.tsv", TASKS, with_cell(TASK, TASKS, "train", "0.9")))


@pytest.mark.parametrize(
    ("cell", "seeds"),
    [
        pytest.param("0-3", (0, 1, 2, 3), id="range"),
        pytest.param("42", (42,), id="one"),
        pytest.param("0 7", (0, 7), id="several"),
    ],
)
def test_split_seeds_are_a_range_or_numbers(tmp_path, cell, seeds):
    path = write(tmp_path / "tasks.tsv", TASKS, with_cell(TASK, TASKS, "split_seeds", cell))
    assert tables.read_tasks(path).row("t").split_seeds == seeds


@pytest.mark.parametrize("cell", ["3-0", "-", "a", "1 1", "0-b"])
def test_other_split_seeds_are_refused(tmp_path, cell):
    with pytest.raises(InputError, match="seeds, each once"):
        tables.read_tasks(write(tmp_path / "tasks.tsv", TASKS, with_cell(TASK, TASKS, "split_seeds", cell)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"protocol": "compat"}, "validation 0 under the protocol compat", id="compat with validation"),
        pytest.param({"protocol": "clear"}, "did you mean clean", id="unknown protocol"),
        pytest.param({"split": "donors"}, "with test 0", id="donors with a test share"),
        pytest.param({"train": "0"}, "train and test shares above 0", id="nothing to learn from"),
        pytest.param({"test": "0"}, "train and test shares above 0", id="nothing to test"),
        pytest.param({"headline": "macro_f2"}, "a metric of classification: accuracy, macro_f1", id="unknown metric"),
        pytest.param({"headline": "rmse"}, "a metric of classification", id="metric of the other kind"),
        pytest.param({"split": "lines"}, "a split of classification: random, donors", id="split of the other kind"),
    ],
)
def test_a_task_that_contradicts_itself_is_refused(tmp_path, changes, message):
    row = TASK
    for column, value in changes.items():
        row = with_cell(row, TASKS, column, value)
    with pytest.raises(InputError, match=message):
        tables.read_tasks(write(tmp_path / "tasks.tsv", TASKS, row))


def test_an_unknown_role_is_refused_with_the_nearest(tmp_path):
    row = with_cell(METHOD, METHODS, "role", "upper_contrl")
    with pytest.raises(InputError, match=r"did you mean upper_control\?"):
        tables.read_methods(write(tmp_path / "methods.tsv", METHODS, row))


def test_a_role_that_one_method_of_a_kind_may_have_is_not_given_twice(tmp_path):
    row = with_cell(METHOD, METHODS, "role", "linear_reference")
    path = write(tmp_path / "methods.tsv", METHODS, row, with_cell(row, METHODS, "method", "n"))
    with pytest.raises(InputError, match=r"found: *m and n"):
        tables.read_methods(path)


def test_options_to_choose_from_are_lists(tmp_path):
    row = with_cell(METHOD, METHODS, "search", '{"C": [1.0, 0.1]}')
    method = tables.read_methods(write(tmp_path / "methods.tsv", METHODS, row)).row("m")
    assert method.search == {"C": [1.0, 0.1]}
    assert not method.seeded


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        pytest.param('{"C": 1.0}', "lists of different values", id="no list"),
        pytest.param('{"C": []}', "lists of different values", id="empty"),
        pytest.param('{"C": [1.0, 1.0]}', "lists of different values", id="repeated"),
        pytest.param('{"mode": ["probe"]}', "not in both: mode", id="fixed already"),
    ],
)
def test_a_search_that_makes_no_sense_is_refused(tmp_path, cell, message):
    with pytest.raises(InputError, match=message):
        tables.read_methods(write(tmp_path / "methods.tsv", METHODS, with_cell(METHOD, METHODS, "search", cell)))


def test_options_of_a_method_are_a_json_object(tmp_path):
    method = tables.read_methods(write(tmp_path / "methods.tsv", METHODS, METHOD)).row("m")
    assert method.options == {"mode": "probe", "c": 1.0}
    assert method.encoder is None
    with pytest.raises(InputError, match="a JSON object"):
        tables.read_methods(
            write(tmp_path / "methods.tsv", METHODS, with_cell(METHOD, METHODS, "options", "mode=probe"))
        )


def test_every_file_that_is_shipped_belongs_to_a_dataset(root):
    datasets = tables.read_datasets(root / "config/datasets.tsv")
    files = tables.read_files(root / "config/files.tsv")
    assert set(files.names) == {row.dataset for row in datasets if not row.simulated}


def test_files_known_by_size_have_a_checksum(root):
    for row in tables.read_files(root / "config/files.tsv"):
        assert (row.bytes is None) == (row.sha256 is None), row


@pytest.mark.parametrize("name", ["my data", "luad(T34)", "a/b", "-x"])
def test_a_name_that_cannot_be_part_of_a_path_or_command_is_refused(tmp_path, name):
    path = write(tmp_path / "datasets.tsv", DATASETS, with_cell(CELLS, DATASETS, "dataset", name))
    with pytest.raises(InputError, match=r"(?s)dataset of .*letters, digits"):
        tables.read_datasets(path)


def test_a_file_is_named_without_its_folder(tmp_path):
    path = write(tmp_path / "files.tsv", FILES, ["blood", "/abs/mine.h5ad", "-", "-", "-", "-"])
    with pytest.raises(InputError, match=r"(?s)file of blood.*the mirror says in which folder"):
        tables.read_files(path)


def test_empty_columns_at_the_end_are_passed_over(tmp_path):
    path = write(tmp_path / "datasets.tsv", DATASETS, CELLS)
    padded = tmp_path / "padded.tsv"
    padded.write_text("".join(f"{line}\t\t\n" for line in path.read_text().splitlines()))
    assert tables.read_datasets(padded).rows == tables.read_datasets(path).rows


def test_a_table_that_is_not_utf_8_is_refused_by_line(tmp_path):
    path = write(tmp_path / "datasets.tsv", DATASETS, with_cell(CELLS, DATASETS, "title", "Köln"))
    path.write_bytes(path.read_text(encoding="utf-8").encode("latin-1"))
    with pytest.raises(InputError, match=r"(?s)line 2.*text in UTF-8.*0xf6"):
        tables.read_datasets(path)
