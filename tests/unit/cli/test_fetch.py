"""Files come from the package, the checkout, a mirror or the internet, and are checked."""

import hashlib
import shutil
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from celllm.cli import fetch
from celllm.contracts import raw
from celllm.errors import InputError

RETRIEVE = fetch.pooch.retrieve
CONTENT = b"gene\tcount\n"
SHA = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty checkout with a mirror folder beside it; no test of this file may use the internet."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mirror").mkdir()

    def refuse(*_, **__):
        pytest.fail("went to the internet")

    monkeypatch.setattr(fetch.pooch, "retrieve", refuse)
    return tmp_path


def run(place, *rows, mirror=True, dataset="d"):
    lines = ["dataset\tfile\turl\tbytes\tsha256\tsample", *("\t".join(row) for row in rows)]
    (place / "files.tsv").write_text("\n".join(lines) + "\n")
    argv = ["--dataset", dataset, "--files", "files.tsv", "--manifest", "raw/d/manifest.json"]
    fetch.main([*argv, *(["--mirror", "mirror"] if mirror else [])])
    return raw.read(place / "raw/d/manifest.json")


def test_a_file_of_the_mirror_is_linked_and_written_down(place):
    (place / "mirror" / "a.tsv").write_bytes(CONTENT)
    (file,) = run(place, ["d", "a.tsv", "https://example.org/a.tsv", str(len(CONTENT)), SHA, "s1"]).files
    assert file.path.is_symlink()
    assert file.path.read_bytes() == CONTENT
    assert (file.name, file.bytes, file.sha256, file.sample) == ("a.tsv", len(CONTENT), SHA, "s1")


def test_a_file_of_unknown_size_is_measured(place):
    (place / "mirror" / "a.tsv").write_bytes(CONTENT)
    (file,) = run(place, ["d", "a.tsv", "-", "-", "-", "-"]).files
    assert (file.bytes, file.sha256) == (len(CONTENT), SHA)


def test_fetching_twice_gives_the_same_manifest(place):
    (place / "mirror" / "a.tsv").write_bytes(CONTENT)
    row = ["d", "a.tsv", "-", "-", "-", "-"]
    assert run(place, row) == run(place, row)


def test_a_file_the_mirror_lacks_is_named_with_the_folder_and_the_remedy(place):
    with pytest.raises(InputError, match=rf"(?s){place}/mirror: a\.tsv.*has no file a\.tsv.*put a\.tsv into {place}"):
        run(place, ["d", "a.tsv", "-", "-", "-", "-"])
    assert not (place / "raw/d/manifest.json").exists()


def test_without_a_mirror_the_remedy_is_to_name_one(place):
    with pytest.raises(InputError, match=r"(?s)no mirror folder was given.*--config mirror=FOLDER"):
        run(place, ["d", "a.tsv", "-", "-", "-", "-"], mirror=False)


@pytest.mark.parametrize(
    ("size", "sha", "message"),
    [
        pytest.param("3", "-", r"(?s)a\.tsv: size.*expected: +3 bytes.*found: +11 bytes", id="size"),
        pytest.param("-", "0" * 64, rf"(?s)a\.tsv: sha256.*expected: +0{{64}}.*found: +{SHA}", id="sha256"),
    ],
)
def test_a_file_that_differs_from_its_row_is_refused(place, size, sha, message):
    (place / "mirror" / "a.tsv").write_bytes(CONTENT)
    with pytest.raises(InputError, match=message):
        run(place, ["d", "a.tsv", "-", size, sha, "-"])
    assert not (place / "raw/d/manifest.json").exists()


def test_a_second_file_that_fails_leaves_no_manifest(place):
    (place / "mirror" / "a.tsv").write_bytes(CONTENT)
    with pytest.raises(InputError, match=r"b\.tsv"):
        run(place, ["d", "a.tsv", "-", "-", "-", "-"], ["d", "b.tsv", "-", "-", "-", "-"])
    assert not (place / "raw/d/manifest.json").exists()


def test_a_file_of_the_checkout_is_copied(place):
    (place / "tables").mkdir()
    (place / "tables" / "a.tsv").write_bytes(CONTENT)
    (file,) = run(place, ["d", "a.tsv", "repo:tables/a.tsv", "-", SHA, "-"], mirror=False).files
    assert not file.path.is_symlink()
    assert file.path.read_bytes() == CONTENT


def test_a_file_of_an_installed_package_is_copied(place):
    row = ["d", "py.typed", "package:celllm:errors.py", "-", "-", "-"]
    (file,) = run(place, row, mirror=False).files
    assert b"class InputError" in file.path.read_bytes()


@pytest.mark.parametrize("url", ["repo:tables/none.tsv", "package:celllm:none.py", "package:no_such_package:a"])
def test_a_file_that_package_or_checkout_lacks_is_named(place, url):
    with pytest.raises(InputError, match=rf"(?s)url of d.*the file {url}"):
        run(place, ["d", "a.tsv", url, "-", "-", "-"])


def test_an_address_for_many_files_asks_for_a_list(place):
    with pytest.raises(InputError, match=r"(?s)url of d.*a template, https://x/\{sra\}.*a row of its own"):
        run(place, ["d", "{sra}.RData", "https://x/{sra}", "-", "-", "-"])


def test_an_address_of_another_kind_is_refused(place):
    with pytest.raises(InputError, match=r"(?s)https://….*found: +ftp://x"):
        run(place, ["d", "a.tsv", "ftp://x/a.tsv", "-", "-", "-"])


def test_a_dataset_without_files_is_answered_with_the_nearest(place):
    with pytest.raises(InputError, match=r"did you mean blood\?"):
        run(place, ["blood", "a.tsv", "-", "-", "-", "-"], dataset="blod")


class Served(BaseHTTPRequestHandler):
    """Answers as some sources do: 403 to anything that does not look like a browser."""

    def do_GET(self):
        is_browser = self.headers["User-Agent"].startswith("Mozilla/5.0")
        status = 404 if self.path != "/a.tsv" else 200 if is_browser else 403
        self.send_response(status)
        self.send_header("Content-Length", str(len(CONTENT) if status == 200 else 0))
        self.end_headers()
        if status == 200:
            self.wfile.write(CONTENT)

    def log_message(self, *_):
        pass


@pytest.fixture
def address(place, monkeypatch):
    """A real server on loopback that holds a.tsv."""
    monkeypatch.setattr(fetch.pooch, "retrieve", RETRIEVE)
    with ThreadingHTTPServer(("127.0.0.1", 0), Served) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_what_no_mirror_has_is_downloaded_and_checked(place, address):
    (file,) = run(place, ["d", "a.tsv", f"{address}/a.tsv", str(len(CONTENT)), SHA, "-"]).files
    assert file.sha256 == SHA
    assert (place / "raw/d/a.tsv").read_bytes() == CONTENT


def test_a_download_with_another_checksum_is_refused_and_not_kept(place, address):
    with pytest.raises(InputError, match=r"(?s)a\.tsv from http://127.*hash"):
        run(place, ["d", "a.tsv", f"{address}/a.tsv", "-", "0" * 64, "-"])
    assert not (place / "raw/d/manifest.json").exists()
    assert not (place / "raw/d/a.tsv").exists()


def test_a_failed_download_says_what_was_asked_and_where_else_the_file_may_lie(place, address):
    with pytest.raises(InputError, match=r"(?s)gone\.tsv from http://127.*404.*mirror has no file gone\.tsv"):
        run(place, ["d", "gone.tsv", f"{address}/gone.tsv", "-", "-", "-"])


def test_the_demo_needs_neither_mirror_nor_internet(place, root):
    shutil.copytree(root / "config" / "demo", place / "config" / "demo")
    for dataset in ("hgnc_demo", "pbmc68k_reduced"):
        manifest = place / "raw" / dataset / "manifest.json"
        fetch.main(
            ["--dataset", dataset, "--files", str(root / "config/files.tsv"), "--manifest", str(manifest)],
        )
        assert raw.read(manifest).only().path.is_file()
