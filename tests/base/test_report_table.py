import re

import pandas as pd
import pytest

from celllm.base.report_table import Column, ReportTable, as_markdown, write_page, write_tsv


def page(tmp_path, *tables, **options):
    write_page(tables, tmp_path / "new/page.html", title="T", **options)
    return (tmp_path / "new/page.html").read_text(encoding="utf-8")


def cells(text):
    return re.findall(r"<td[^>]*>(.*?)</td>", text)


def test_rows_are_written_with_ten_digits_and_an_undefined_value_is_an_empty_cell(tmp_path):
    write_tsv(pd.DataFrame({"a": [0.123456789012, "withheld"], "b": [None, 1]}), tmp_path / "new/t.tsv")
    assert (tmp_path / "new/t.tsv").read_text(encoding="utf-8") == "a\tb\n0.123456789\t\nwithheld\t1\n"


@pytest.mark.parametrize(
    ("column", "value", "text"),
    [
        pytest.param(Column("x", show=",d"), 1234.0, "1,234", id="whole number"),
        pytest.param(Column("x", show=".3f"), 0.5, "0.500", id="trailing zeros"),
        pytest.param(Column("x", show=".1%"), 0.25, "25.0%", id="share"),
        pytest.param(Column("x", show=".3f"), "not run", "not run", id="text among numbers"),
        pytest.param(Column("x", show=".3f"), float("nan"), "", id="undefined"),
        pytest.param(Column("x", show=".3f", undefined="undefined"), None, "undefined", id="undefined by name"),
        pytest.param(Column("x", show=str.upper), "a", "A", id="function"),
        pytest.param(Column("x"), "007", "007", id="text"),
    ],
)
def test_a_value_is_shown_in_the_format_of_its_column(column, value, text):
    assert column.texts(pd.DataFrame({"x": [value]}, dtype=object)) == [text]


def test_an_interval_stands_behind_its_mean_where_there_is_one():
    ends = {"x_low": [0.4, None, None, 0.4], "x_high": [0.6, None, None, 0.6]}
    rows = pd.DataFrame({"x": [0.5, 0.5, "failed", None], **ends})
    assert Column("x", show=".3f", is_interval=True).texts(rows) == ["0.500 [0.400, 0.600]", "0.500", "failed", ""]


def test_a_page_needs_no_other_file_and_escapes_what_it_shows(tmp_path):
    rows = pd.DataFrame({"name": ["<b>a&b</b>"]})
    text = page(tmp_path, ReportTable("t", rows, [Column("name")]), note="*clean*: see ``a<b``")
    assert cells(text) == ["&lt;b&gt;a&amp;b&lt;/b&gt;"]
    assert "<em>clean</em>: see <code>a&lt;b</code>" in text
    assert not re.search(r"(src|href)=\"(?!#)", text)


def test_numbers_are_set_to_the_right_and_a_column_without_text_is_left_out(tmp_path):
    rows = pd.DataFrame({"name": ["a"], "n": [3], "empty": [None]})
    columns = [Column("name", is_key=True), Column("n", show=",d"), Column("empty")]
    text = page(tmp_path, ReportTable("t", rows, columns))
    assert re.findall(r'<th class="([^"]*)" scope="col">(\w+)', text) == [("text key", "name"), ("number", "n")]


def test_sections_are_tables_of_their_own_each_with_its_columns(tmp_path):
    rows = pd.DataFrame({"task": ["a", "b"], "f1": [0.5, None], "pearson": [None, 0.25]})
    columns = [Column("task"), Column("f1", show=".2f"), Column("pearson", show=".2f")]
    text = page(tmp_path, ReportTable("t", rows, columns, sections=["Cells", "Lines"]))
    first, second = text.split("<h3>")[1:]
    assert (cells(first), cells(second)) == (["a", "0.50"], ["b", "0.25"])


def test_a_page_of_several_tables_has_a_list_of_contents(tmp_path):
    rows = pd.DataFrame({"a": [1]})
    text = page(tmp_path, *(ReportTable(name, rows, [Column("a")], f"Table {name}") for name in ("x", "y")))
    assert '<li><a href="#y">Table y</a></li>' in text
    assert '<h2 id="y">Table y</h2>' in text


def test_a_table_without_rows_says_so(tmp_path):
    assert "No rows." in page(tmp_path, ReportTable("t", pd.DataFrame(columns=["a"]), [Column("a")]))


def test_markdown_keeps_text_as_it_stands_and_sets_columns_below_one_another():
    rows = pd.DataFrame({"value": ["0.500", "007"], "name": ["a", "bc"]})
    assert as_markdown(rows, title="T", note="N").splitlines() == [
        *("## T", "", "N", ""),
        *("| value | name |", "| ----- | ---- |", "| 0.500 | a    |", "| 007   | bc   |"),
    ]
    assert as_markdown(rows.iloc[:0], title="T") == "## T\n\nNo rows.\n"
