"""Whole files or none."""

from __future__ import annotations

import pytest

from celllm.base.atomic import writing


def test_a_failure_leaves_the_old_file_and_no_part(tmp_path):
    path = tmp_path / "x.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), writing(path) as part:  # noqa: PT012 - the failure comes after a write
        part.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_finished_file_takes_its_name_and_makes_its_folder(tmp_path):
    path = tmp_path / "new" / "x.txt"
    with writing(path) as part:
        part.write_text("whole")
        assert not path.exists()
    assert path.read_text() == "whole"
