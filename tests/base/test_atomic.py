"""Whole files or none."""

import errno
import os
import platform
import subprocess
import sys

import pytest

from celllm.base.atomic import check_place, require_room, writing
from celllm.base.errors import InputError


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


def test_two_runs_at_once_write_whole_files_each(tmp_path):
    path = tmp_path / "x.txt"
    with writing(path) as first:
        first.write_text("half of the fir")
        with writing(path) as second:
            second.write_text("second")
        assert path.read_text() == "second"
        first.write_text("first")
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_run_left_is_removed_by_the_next_on_its_machine(tmp_path):
    path = tmp_path / "x.txt"
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    (tmp_path / f"x.txt.{gone.pid}-abcdef@{platform.node()}.tmp").mkdir()
    elsewhere = tmp_path / f"x.txt.{gone.pid}-abcdef@another-node.tmp"  # there the process may run
    elsewhere.mkdir()
    with writing(path) as part:
        part.write_text("whole")
    assert sorted(tmp_path.iterdir()) == [path, elsewhere]


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        RuntimeError("flush failed (No space left on device)"),
    ],
)
def test_a_full_disk_is_said_so_by_whatever_wrote(tmp_path, error):
    with pytest.raises(InputError, match=r"(?s)x\.h5ad.*room enough.*No space left"), writing(tmp_path / "x.h5ad"):
        raise error
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_said_so(tmp_path):
    with pytest.raises(InputError, match="a full disk"), writing(tmp_path / "x") as part:  # noqa: PT012 - as above
        part.symlink_to("/dev/full")
        part.write_bytes(b"x")


@pytest.mark.parametrize("name", ["file/x", "folder"])
def test_a_place_that_cannot_be_written_to_is_named(tmp_path, name):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="a file that can be written"):
        check_place(tmp_path / name)
    with pytest.raises(InputError, match="a file that can be written"), writing(tmp_path / name) as part:
        part.touch()
    assert {path.name for path in tmp_path.iterdir()} == {"file", "folder"}


def test_room_is_asked_for_before_it_is_needed(tmp_path):
    require_room(tmp_path / "x", 1)
    with pytest.raises(InputError, match=r"(?s)room enough.*bytes free, .*needed next"):
        require_room(tmp_path / "x", 1 << 60)
