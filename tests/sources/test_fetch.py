"""Files come from the package, the checkout, a mirror or the internet, and are checked."""

import gzip
import hashlib
import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from celllm.base.errors import InputError
from celllm.sources import bring, checksums, raw
from celllm.sources.answers import Patience
from celllm.sources.commands import fetch

CONTENT = b"gene\tcount\n"
SHA = hashlib.sha256(CONTENT).hexdigest()
QUICK = Patience(attempts=2, base_s=0.001, longest_s=0.01, connect_s=5.0, read_s=1.0)
DOWNLOAD = bring.download
SAMPLES = "sample\tstudy\tmalignancy\n" + "".join(f"s{n}\tstudy{n % 2}\tnormal\n" for n in range(8))


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty checkout with a mirror folder beside it; no test of this file may use the internet."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mirror").mkdir()
    (tmp_path / "hosts.tsv").write_text("host\tuser_agent\tconnections\tpause_s\tnote\n*\tMozilla/5.0\t2\t0\t-\n")

    def refuse(*_, **__):
        pytest.fail("went to the internet")

    monkeypatch.setattr(bring, "download", refuse)
    return tmp_path


@pytest.fixture(autouse=True)
def datasets(root, tmp_path):
    """The checkout's header, with a dataset and a list of samples for it."""
    header = (root / "config/datasets.tsv").read_text().splitlines()[0].split("\t")
    rows = []
    for name, role, reader, listed in (("d", "corpus", "h5ad", "list"), ("list", "samples", "sample_table", "-")):
        cells = {"dataset": name, "title": f"The {name}", "role": role, "reader": reader, "samples": listed}
        cells |= {"simulated": "no", "malignancy": "unknown", "source_malignancy": "unknown", "min_genes": "0"}
        rows.append("\t".join(cells.get(column, "-") for column in header))
    (tmp_path / "datasets.tsv").write_text("\n".join(["\t".join(header), *rows]) + "\n")


def run(place, *rows, mirror=True, dataset="d", options=()):
    lines = ["dataset\tfile\turl\tbytes\tsha256\tsample", *("\t".join(row) for row in rows)]
    (place / "files.tsv").write_text("\n".join(lines) + "\n")
    argv = ["--dataset", dataset, "--datasets", "datasets.tsv", "--files", "files.tsv", "--hosts", "hosts.tsv"]
    argv += ["--manifest", f"raw/{dataset}/manifest.json", *options]
    fetch.main([*argv, *(["--mirror", "mirror"] if mirror else [])], patience=QUICK)
    return raw.read(place / f"raw/{dataset}/manifest.json")


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
    row = ["d", "py.typed", "package:celllm:base/errors.py", "-", "-", "-"]
    (file,) = run(place, row, mirror=False).files
    assert b"class InputError" in file.path.read_bytes()


@pytest.mark.parametrize("url", ["repo:tables/none.tsv", "package:celllm:none.py", "package:no_such_package:a"])
def test_a_file_that_package_or_checkout_lacks_is_named(place, url):
    with pytest.raises(InputError, match=rf"(?s)url of d.*the file {url}"):
        run(place, ["d", "a.tsv", url, "-", "-", "-"])


def test_an_address_for_many_files_asks_for_a_list(place):
    with pytest.raises(InputError, match=r"(?s)url of d.*a template, https://x/\{sra\}.*the column samples of d"):
        run(place, ["d", "{sra}.RData", "https://x/{sra}", "-", "-", "-"])


def test_an_address_of_another_kind_is_refused(place):
    with pytest.raises(InputError, match=r"(?s)https://….*found: +ftp://x"):
        run(place, ["d", "a.tsv", "ftp://x/a.tsv", "-", "-", "-"])


def test_a_dataset_without_files_is_answered_with_the_nearest(place):
    with pytest.raises(InputError, match=r"did you mean blood\?"):
        run(place, ["blood", "a.tsv", "-", "-", "-", "-"], dataset="blod")


class Handler(BaseHTTPRequestHandler):
    """Holds every path that starts with /a, and answers as some sources do: 403 to what looks like no browser."""

    asked: list[str]
    content = CONTENT

    def do_GET(self):
        self.asked.append(self.path)
        is_browser = self.headers["User-Agent"].startswith("Mozilla/5.0")
        status = 404 if not self.path.startswith("/a") else 200 if is_browser else 403
        body = self.server.content if status == 200 else b""
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(place, monkeypatch):
    """A real server on loopback."""
    monkeypatch.setattr(bring, "download", DOWNLOAD)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    handler = type("Bound", (Handler,), {"asked": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.asked, server.content = handler.asked, CONTENT
        server.address = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield server
        server.shutdown()


def test_what_no_mirror_has_is_downloaded_and_checked(place, server):
    (file,) = run(place, ["d", "a.tsv", f"{server.address}/a.tsv", str(len(CONTENT)), SHA, "-"]).files
    assert file.sha256 == SHA
    assert (place / "raw/d/a.tsv").read_bytes() == CONTENT
    assert sorted(path.name for path in (place / "raw/d").iterdir()) == [".fetched.tsv", "a.tsv", "manifest.json"]


def test_a_download_with_another_checksum_is_refused_and_not_kept(place, server):
    with pytest.raises(InputError, match=rf"(?s)a\.tsv: sha256.*expected: +0{{64}}, as files\.tsv says.*{SHA}"):
        run(place, ["d", "a.tsv", f"{server.address}/a.tsv", "-", "0" * 64, "-"])
    assert not list((place / "raw/d").rglob("*.tsv"))
    assert not (place / "raw/d/manifest.json").exists()


def test_a_failed_download_says_what_was_asked_and_where_else_the_file_may_lie(place, server):
    with pytest.raises(InputError, match=r"(?s)gone\.tsv from http://127.*404.*mirror has no file gone\.tsv"):
        run(place, ["d", "gone.tsv", f"{server.address}/gone.tsv", "-", "-", "-"])


def test_a_further_address_gives_what_the_first_has_not(place, server):
    lines = ["dataset\tfile\turl\tmirrors\tbytes\tsha256\tsample"]
    lines.append(f"d\ta.tsv\t{server.address}/gone\t{server.address}/no {server.address}/a\t-\t{SHA}\t-")
    (place / "files.tsv").write_text("\n".join(lines) + "\n")
    argv = ["--dataset", "d", "--datasets", "datasets.tsv", "--files", "files.tsv", "--hosts", "hosts.tsv"]
    fetch.main([*argv, "--manifest", "raw/d/manifest.json"], patience=QUICK)
    assert server.asked == ["/gone", "/no", "/a"]


def test_what_has_arrived_is_not_asked_for_again(place, server):
    row = ["d", "a.tsv", f"{server.address}/a.tsv", "-", "-", "-"]
    first = run(place, row)
    (place / "raw/d/manifest.json").unlink()  # as a killed run leaves it
    assert run(place, row) == first
    assert server.asked == ["/a.tsv"]


@pytest.mark.parametrize("change", ["content", "address"])
def test_what_has_changed_here_or_has_another_address_is_asked_for_again(place, server, change):
    run(place, ["d", "a.tsv", f"{server.address}/a.tsv", "-", "-", "-"])
    if change == "content":
        (place / "raw/d/a.tsv").write_bytes(CONTENT[::-1])
    other = "/a.tsv" if change == "content" else "/a2.tsv"
    run(place, ["d", "a.tsv", f"{server.address}{other}", "-", "-", "-"])
    assert server.asked == ["/a.tsv", other]
    assert (place / "raw/d/a.tsv").read_bytes() == CONTENT


def test_the_first_download_is_locked_and_a_later_change_refused_until_its_line_is_deleted(place, server):
    row, lock = ["d", "a.tsv", f"{server.address}/a.tsv", "-", "-", "-"], place / "checksums.tsv"
    run(place, row, options=["--checksums", "checksums.tsv"])
    (line,) = checksums.read(lock)
    assert (line.dataset, line.file, line.bytes, line.sha256) == ("d", "a.tsv", len(CONTENT), SHA)
    assert line.source == row[2]
    shutil.rmtree(place / "raw")
    server.content = CONTENT[::-1]
    with pytest.raises(
        InputError,
        match=rf"(?s)expected: +{SHA}, as checksums\.tsv says.*delete the line of d a\.tsv from checksums\.tsv",
    ):
        run(place, row, options=["--checksums", "checksums.tsv"])
    assert list(checksums.read(lock)) == [line]
    lock.unlink()
    (file,) = run(place, row, options=["--checksums", "checksums.tsv"]).files
    assert checksums.of(checksums.read(lock), dataset="d", file="a.tsv").sha256 == file.sha256 != SHA


def test_what_the_table_gives_a_checksum_for_is_not_locked(place, server):
    run(place, ["d", "a.tsv", f"{server.address}/a.tsv", "-", SHA, "-"], options=["--checksums", "checksums.tsv"])
    assert not (place / "checksums.tsv").exists()


def test_a_file_of_the_mirror_is_locked_and_held_to_the_lock_too(place):
    (place / "mirror/a.tsv").write_bytes(CONTENT)
    row = ["d", "a.tsv", "-", "-", "-", "-"]
    run(place, row, options=["--checksums", "checksums.tsv"])
    assert [(line.source, line.sha256) for line in checksums.read(place / "checksums.tsv")] == [("mirror", SHA)]
    (place / "mirror/a.tsv").write_bytes(CONTENT[::-1])
    with pytest.raises(InputError, match=r"mirror/a\.tsv: sha256"):
        run(place, row, options=["--checksums", "checksums.tsv"])


def test_a_lock_that_cannot_be_written_is_said_with_the_line_to_add(place, server, capsys, monkeypatch):
    record = checksums.record

    def read_only(row, path, *, lock):
        if path.name == "checksums.tsv":
            raise PermissionError(13, "read-only", str(path))
        record(row, path, lock=lock)

    monkeypatch.setattr(checksums, "record", read_only)
    run(place, ["d", "a.tsv", f"{server.address}/a.tsv", "-", "-", "-"], options=["--checksums", "checksums.tsv"])
    assert f"add this line to it:\nd\ta.tsv\t{len(CONTENT)}\t{SHA}\t{server.address}" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["a.tsv.gz", "d/a.tsv.gz"])
def test_a_file_that_the_mirror_holds_gzipped_is_unpacked_and_checked_inside(place, name):
    (place / "mirror/d").mkdir()
    (place / "mirror" / name).write_bytes(gzip.compress(CONTENT))
    (file,) = run(place, ["d", "a.tsv", "-", str(len(CONTENT)), SHA, "-"]).files
    assert not file.path.is_symlink()
    assert file.path.read_bytes() == CONTENT
    with pytest.raises(InputError, match=r"a\.tsv\.gz: sha256"):
        run(place, ["d", "a.tsv", "-", "-", "0" * 64, "-"])


def test_a_broken_gzip_file_of_the_mirror_is_named(place):
    (place / "mirror/a.tsv.gz").write_bytes(gzip.compress(CONTENT)[:-4])
    with pytest.raises(InputError, match=r"(?s)a\.tsv\.gz.*a whole gzip file"):
        run(place, ["d", "a.tsv", "-", "-", "-", "-"])
    assert not (place / "raw/d/a.tsv").exists()


def test_a_second_mirror_is_looked_in_too(place):
    (place / "other").mkdir()
    (place / "other/a.tsv").write_bytes(CONTENT)
    (file,) = run(place, ["d", "a.tsv", "-", "-", "-", "-"], options=["--mirror", "other"]).files
    assert file.sha256 == SHA


TEMPLATE = ["d", "{sample}.gz", "ADDRESS/a/{sample}", "-", "-", "-"]


@pytest.fixture
def listed(place):
    """Options that name a fetched list of eight samples of two studies."""
    (place / "mirror/list.tsv").write_text(SAMPLES)
    run(place, ["list", "list.tsv", "-", "-", "-", "-"], dataset="list")
    return ["--samples", "raw/list/manifest.json"]


def template(server):
    return [cell.replace("ADDRESS", server.address) for cell in TEMPLATE]


def test_a_template_gives_a_file_a_sample_with_its_facts(place, server, listed, capsys):
    files = run(place, template(server), options=listed).files
    assert [file.name for file in files] == [f"s{n}.gz" for n in range(8)]
    assert [file.sample for file in files] == [f"s{n}" for n in range(8)]
    assert files[3].facts == {"study": "study1", "malignancy": "normal"}
    assert sorted(server.asked) == [f"/a/s{n}" for n in range(8)]
    said = capsys.readouterr().err
    assert "8 samples; 8 normal, 0 tumour, 0 unknown" in said
    assert "(8 of 8 files)" in said


def test_samples_of_the_mirror_are_not_downloaded(place, listed):
    for n in range(8):
        (place / f"mirror/s{n}.gz").write_bytes(CONTENT)
    assert len(run(place, TEMPLATE, options=listed).files) == 8


def test_excluded_studies_are_left_out(place, server, listed, capsys):
    files = run(place, template(server), options=[*listed, "--exclude-studies", "study1", "other"]).files
    assert [file.sample for file in files] == ["s0", "s2", "s4", "s6"]
    assert "study study1 is left out: 4 samples" in capsys.readouterr().err
    with pytest.raises(InputError, match=r"(?s)at least one sample.*shorten exclude_studies"):
        run(place, template(server), options=[*listed, "--exclude-studies", "study1", "study0"])


def test_one_sample_that_fails_does_not_keep_the_others_from_arriving(place, server, listed):
    lines = [f"s{n}\tx\tnormal\t{'gone' if n == 3 else 'a'}\n" for n in range(8)]
    (place / "mirror/list.tsv").write_text("sample\tstudy\tmalignancy\tpath\n" + "".join(lines))
    run(place, ["list", "list.tsv", "-", "-", "-", "-"], dataset="list")
    row = ["d", "{sample}.gz", f"{server.address}/{{path}}", "-", "-", "-"]
    with pytest.raises(InputError, match=r"(?s)s3\.gz from .*404"):
        run(place, row, options=listed)
    assert len(list((place / "raw/d").glob("*.gz"))) == 7
    assert not (place / "raw/d/manifest.json").exists()


def test_after_a_few_failures_the_rest_is_not_tried(place, server, listed):
    row = ["d", "{sample}.gz", f"{server.address}/gone/{{sample}}", "-", "-", "-"]
    with pytest.raises(InputError, match=r"(?s)5 files.*expected: +8 files.*404"):
        run(place, row, options=listed)
    assert len(server.asked) < 8


def test_a_list_without_an_address_is_said_how_to_make(place):
    with pytest.raises(InputError, match=r"(?s)put list\.tsv into .*mirror: The list: tab-separated under that name"):
        run(place, ["list", "list.tsv", "-", "-", "-", "-"], dataset="list")


def test_the_demo_needs_neither_mirror_nor_internet(place, root):
    shutil.copytree(root / "config" / "demo", place / "config" / "demo")
    for dataset in ("hgnc_demo", "pbmc68k_reduced"):
        manifest = place / "raw" / dataset / "manifest.json"
        tables = [f"--{name}={root / 'config' / name}.tsv" for name in ("datasets", "files", "hosts")]
        fetch.main(["--dataset", dataset, *tables, "--manifest", str(manifest)])
        assert raw.read(manifest).only().path.is_file()
