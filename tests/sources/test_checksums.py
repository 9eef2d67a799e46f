"""The lock of checksums round-trips, stays sorted and loses no row to another writer."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from celllm.base.errors import InputError
from celllm.config import tables
from celllm.sources import checksums
from celllm.sources.checksums import Checksum

ROW = Checksum("d", "b.tsv", 7, "0" * 64, "https://example.org/b.tsv", "2026-01-31")


def test_rows_round_trip_sorted_one_a_file(tmp_path):
    path = tmp_path / "checksums.tsv"
    assert list(checksums.read(path)) == []
    for row in (replace(ROW, bytes=8), ROW, replace(ROW, file="a.tsv"), replace(ROW, dataset="c")):
        checksums.record(row, path, lock=tmp_path / "locks/table.lock")
    assert list(checksums.read(path)) == [replace(ROW, dataset="c"), replace(ROW, file="a.tsv"), ROW]
    assert checksums.of(path, dataset="d", file="b.tsv") == ROW
    assert checksums.of(path, dataset="d", file="none") is None


def test_writers_in_threads_and_processes_lose_no_row(tmp_path, root):
    path, lock = tmp_path / "checksums.tsv", tmp_path / "lock"
    code = (
        "import sys\nfrom pathlib import Path\nfrom celllm.sources import checksums\n"
        "for n in range(20): checksums.record(checksums.Checksum('p', str(n), 7, '0' * 64, 'mirror', '2026-01-31'), "
        "Path(sys.argv[1]), lock=Path(sys.argv[2]))"
    )
    process = subprocess.Popen([sys.executable, "-c", code, path, lock], env={"PYTHONPATH": str(root / "src")})
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: checksums.record(replace(ROW, file=str(n)), path, lock=lock), range(20)))
    assert process.wait(timeout=60) == 0
    assert len(checksums.read(path)) == 40


def test_a_row_that_says_nothing_is_refused(tmp_path):
    path = tmp_path / "checksums.tsv"
    path.write_text(f"{checksums.HEADER}d\ta\t7\t-\tmirror\t2026-01-31\n")
    with pytest.raises(InputError, match=r"(?s)sha256 of d.*a valid string"):
        checksums.read(path)


def test_the_checkouts_own_table_names_files_of_files_tsv(root):
    named = set(tables.read_files(root / "config/files.tsv").names)
    assert {row.dataset for row in checksums.read(root / "config/checksums.tsv")} <= named
