"""The command line: what a user can mend ends in one sentence."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from celllm.base.app import commands, run
from celllm.base.errors import CellLMError


def test_a_path_that_is_not_there_is_named_with_its_option(tmp_path, capsys):
    app = commands()

    @app.command
    def count(*, genes):
        with open(genes, encoding="utf-8") as file:  # noqa: PTH123
            file.read()

    with pytest.raises(SystemExit) as end:
        run(app, ["count", "--genes", str(tmp_path / "no.tsv")])
    assert end.value.code == 2
    assert capsys.readouterr().err == f"error: --genes {tmp_path / 'no.tsv'}\n  No such file or directory\n"


def test_an_error_of_ours_that_is_an_oserror_too_is_printed(capsys):
    class FullError(CellLMError, OSError):
        pass

    app = commands()

    @app.command
    def fill():
        raise FullError("no room")

    with pytest.raises(SystemExit) as end:
        run(app, ["fill"])
    assert (end.value.code, capsys.readouterr().err) == (2, "error: no room\n")


def test_a_reader_that_has_seen_enough_ends_a_command_without_a_word():
    code = "from celllm.base.app import commands, run\napp = commands()\n"
    code += "app.command(lambda: print('a'), name='a')\nrun(app)"
    reads, writes = os.pipe()
    os.close(reads)
    env = {"PYTHONPATH": str(Path(__file__).parents[2] / "src")}
    command = [sys.executable, "-c", code, "a"]
    done = subprocess.run(command, stdout=writes, stderr=subprocess.PIPE, env=env, check=False)
    os.close(writes)
    assert (done.returncode, done.stderr) == (141, b"")
