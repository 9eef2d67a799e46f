"""The committed fixtures are what their scripts make."""

import gzip
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import rdata

from celllm.sources import archives

FOLDER = Path(__file__).resolve().parents[1] / "fixtures"


def content(path):
    """What a file says, without the time of writing or the version of its writer."""
    if path.suffix == ".RData":
        return str(rdata.parser.parse_file(path).object)
    if path.suffix == ".xlsx":
        return pd.read_excel(path).to_dict("list")
    if path.suffix == ".h5":
        found = {}
        with h5py.File(path) as file:
            file.visititems(
                lambda name, item: found.update({name: np.array(item).tolist()}) if hasattr(item, "shape") else None
            )
        return found
    if archives.is_archive(path.name):
        return {name: stream.read() for name, stream in archives.members(path)}
    if path.suffix == ".gz":
        return gzip.decompress(path.read_bytes())
    return path.read_bytes()


@pytest.mark.parametrize(
    "command",
    [
        pytest.param([sys.executable, "make_fixtures.py"], id="python"),
        pytest.param(["Rscript", "make_fixtures.R"], id="R"),
    ],
)
def test_fixtures_are_what_their_script_makes(command, tmp_path):
    if shutil.which(command[0]) is None:
        pytest.skip(f"no {command[0]}")
    if command[0] == "Rscript" and subprocess.run(["Rscript", "-e", "library(Matrix)"], capture_output=True).returncode:
        pytest.skip("R without the package Matrix")
    subprocess.run([*command, str(tmp_path)], cwd=FOLDER, check=True, capture_output=True)
    made = sorted(path.name for path in tmp_path.iterdir())
    assert len(made) >= 13
    for name in made:
        assert content(tmp_path / name) == content(FOLDER / name), name


def test_every_fixture_is_small_and_says_that_it_is_simulated():
    for path in FOLDER.iterdir():
        if path.suffix not in {".py", ".R", ".md"}:
            assert path.name.startswith("simulated")
            assert path.stat().st_size < 50_000
