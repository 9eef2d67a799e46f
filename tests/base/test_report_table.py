from __future__ import annotations

import pandas as pd

from celllm.base import report_table
from celllm.base.report_table import ReportTable, as_markdown


def test_both_files_are_written(tmp_path):
    rows = pd.DataFrame({"a": [0.123456789012], "b": [None]})
    report_table.write(ReportTable("t", rows, "text\n"), tmp_path / "new")
    assert (tmp_path / "new/t.tsv").read_text(encoding="utf-8") == "a\tb\n0.123456789\t\n"
    assert (tmp_path / "new/t.md").read_text(encoding="utf-8") == "text\n"


def test_markdown_keeps_trailing_zeros_and_escapes_bars():
    text = as_markdown(pd.DataFrame({"value": ["0.500"], "name": ["a|b"]}), title="T")
    assert "0.500" in text
    assert "a\\|b" in text


def test_a_table_without_rows_says_so():
    assert as_markdown(pd.DataFrame(columns=["a"]), title="T") == "## T\n\nNo rows.\n"
