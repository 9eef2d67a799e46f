"""manifest.json: what lies in a raw folder."""

import hashlib
import json
import os

import pytest

from celllm.base.errors import InputError
from celllm.sources import raw


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "a.txt").write_bytes(b"abc")
    (tmp_path / "elsewhere.csv").write_bytes(b"1,2")
    raw.write(
        "d",
        [raw.describe(tmp_path / "d" / "a.txt", sample="s1"), raw.describe(tmp_path / "elsewhere.csv")],
        tmp_path / "d" / "manifest.json",
    )
    return tmp_path / "d"


def test_a_manifest_reads_back_what_was_written(folder):
    assert json.loads((folder / "manifest.json").read_text())["files"][0]["path"] == "a.txt"
    manifest = raw.read(folder.rename(folder.with_name("moved")) / "manifest.json")
    first, second = manifest.files
    assert manifest.dataset == "d"
    assert (first.name, first.bytes, first.sample) == ("a.txt", 3, "s1")
    assert first.sha256 == hashlib.sha256(b"abc").hexdigest()
    assert second.path.read_bytes() == b"1,2"
    assert second.sample is None


def test_a_file_of_another_size_or_gone_is_named(folder):
    (folder / "a.txt").write_bytes(b"abcd")
    with pytest.raises(InputError, match=r"(?s)of 3 bytes.*found: +4 bytes"):
        raw.read(folder / "manifest.json")
    (folder / "a.txt").unlink()
    with pytest.raises(InputError, match=r"(?s)files: a\.txt.*of 3 bytes.*no file there"):
        raw.read(folder / "manifest.json")


def test_a_file_written_anew_is_named_though_its_size_is_the_same(folder):
    later = (folder / "manifest.json").stat().st_mtime_ns + 10**9
    os.utime(folder / "a.txt", ns=(later, later))
    raw.read(folder / "manifest.json")
    (folder / "a.txt").write_bytes(b"xyz")
    os.utime(folder / "a.txt", ns=(later, later))
    with pytest.raises(InputError, match=r"(?s)files: a\.txt.*other content of the same size"):
        raw.read(folder / "manifest.json")


@pytest.mark.parametrize("text", ["", "[]", '{"dataset": "d"}', '{"dataset": "d", "files": [{"name": "a"}]}'])
def test_what_is_no_manifest_is_refused(tmp_path, text):
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(InputError, match="a manifest with dataset and files"):
        raw.read(tmp_path / "manifest.json")


def test_files_are_found_by_their_ending(folder):
    manifest = raw.read(folder / "manifest.json")
    assert [file.name for file in manifest.ending(".csv")] == ["elsewhere.csv"]
    with pytest.raises(InputError, match=r"(?s)ending in \.h5ad.*found: +a\.txt, elsewhere\.csv"):
        manifest.ending(".h5ad")
    with pytest.raises(InputError, match="one file in d"):
        manifest.only()
