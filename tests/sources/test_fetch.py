"""Files come from the package, the checkout, a mirror or the internet, and are checked."""

import gzip
import hashlib
import shutil
from dataclasses import replace

import pytest
from filelock import FileLock

from celllm.base.errors import InputError
from celllm.config import tables
from celllm.config.tables import SourceFile
from celllm.sources import checksums, commands, fetch, raw
from celllm.sources.mirror import find

CONTENT = b"gene\tcount\n"
SHA = hashlib.sha256(CONTENT).hexdigest()
DOWNLOAD = fetch.download


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty checkout with a mirror folder beside it; only tests with a server may use the network."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mirror").mkdir()

    def refuse(*_, **__):
        pytest.fail("went to the internet")

    monkeypatch.setattr(fetch, "download", refuse)
    return tmp_path


@pytest.fixture
def row(rows):
    return rows.row("panglaodb")


@pytest.fixture
def run(place, row):
    """Fetch files of a dataset through the command, as its rows say, and read the manifest."""

    def run(*files, dataset="d", reader="h5ad", mirror=("mirror",), **options):
        dataset_row = replace(row, dataset=dataset, title=f"The {dataset}", reader=reader)
        manifest = place / f"raw/{dataset}/manifest.json"
        folders = [place / name for name in mirror]
        commands.fetch(dataset=dataset_row, files=list(files), manifest=manifest, mirror=folders, **options)
        return raw.read(manifest)

    return run


def source(file="a.tsv", url=None, size=None, sha256=None, sample=None, mirrors=(), dataset="d"):
    return SourceFile(dataset, file, url, size, sha256, sample, mirrors)


@pytest.fixture
def served(place, server, monkeypatch):
    """The server of conftest.py with a file at /a; the network may be used."""
    monkeypatch.setattr(fetch, "download", DOWNLOAD)
    server.body = CONTENT
    server.address = server.at("/a", lambda handler: handler.file(server.body))
    server.at("/gone", lambda handler: handler.answer(404))
    return server


def asked(server):
    return [path for path, _ in server.requests]


def test_a_file_of_the_mirror_is_linked_and_written_down(place, run):
    (place / "mirror/a.tsv").write_bytes(CONTENT)
    row = source(url="https://example.org/a.tsv", size=len(CONTENT), sha256=SHA, sample="s1")
    (file,) = run(row).files
    assert file.path.is_symlink()
    assert file.path.read_bytes() == CONTENT
    assert (file.name, file.bytes, file.sha256, file.sample) == ("a.tsv", len(CONTENT), SHA, "s1")
    assert file.source == "mirror"
    assert run(row).files == (file,)


def test_a_file_the_mirror_lacks_is_named_with_the_folder_and_the_remedy(place, run):
    with pytest.raises(InputError, match=rf"(?s){place}/mirror: a\.tsv.*has no file a\.tsv.*put a\.tsv into {place}"):
        run(source())
    with pytest.raises(InputError, match=r"(?s)no mirror folder was given.*--config mirror=FOLDER"):
        run(source(), mirror=())
    assert not (place / "raw/d/manifest.json").exists()


@pytest.mark.parametrize(
    ("known", "message"),
    [
        pytest.param({"size": 3}, r"a\.tsv: size.*expected: +3 bytes.*found: +11 bytes", id="size"),
        pytest.param({"sha256": "0" * 64}, rf"a\.tsv: sha256.*expected: +0{{64}}.*found: +{SHA}", id="sha256"),
    ],
)
@pytest.mark.parametrize("where", ["mirror", "server", "checkout"])
def test_a_file_that_differs_from_its_row_is_refused(place, run, served, known, message, where):
    url = {"server": served.address, "checkout": "repo:mirror/b.tsv"}.get(where)
    (place / "mirror" / ("a.tsv" if where == "mirror" else "b.tsv")).write_bytes(CONTENT)
    with pytest.raises(InputError, match=f"(?s){message}" if where != "server" else f"(?s){message[9:]}"):
        run(source(url=url, **known))
    assert not (place / "raw/d/manifest.json").exists()
    if where == "server":
        assert not list((place / "raw/d").iterdir())


def test_files_of_the_checkout_and_of_packages_are_copied(place, run):
    (place / "a.tsv").write_bytes(CONTENT)
    theirs = source("errors.py", url="package:celllm:base/errors.py")
    ours, package = run(source(url="repo:a.tsv", sha256=SHA), theirs, mirror=()).files
    assert not ours.path.is_symlink()
    assert ours.path.read_bytes() == CONTENT
    assert b"class InputError" in package.path.read_bytes()


@pytest.mark.parametrize("url", ["repo:tables/none.tsv", "package:celllm:none.py", "package:no_such_package:a"])
def test_a_file_that_package_or_checkout_lacks_is_named(run, url):
    with pytest.raises(InputError, match=rf"(?s)url of d.*the file {url}"):
        run(source(url=url))


def test_an_address_of_another_kind_is_refused(run):
    with pytest.raises(InputError, match=r"(?s)https://….*found: +ftp://x"):
        run(source(url="ftp://x/a.tsv"))


def test_what_no_mirror_has_is_downloaded_and_checked(place, run, served):
    (file,) = run(source(url=served.address, size=len(CONTENT), sha256=SHA)).files
    assert (file.sha256, file.source) == (SHA, served.address)
    assert (place / "raw/d/a.tsv").read_bytes() == CONTENT
    assert sorted(path.name for path in (place / "raw/d").iterdir()) == ["a.tsv", "manifest.json"]


def test_a_failed_download_says_what_was_asked_and_where_else_the_file_may_lie(run, served):
    with pytest.raises(InputError, match=r"(?s)a\.tsv from http://127.*404.*mirror has no file a\.tsv"):
        run(source(url=served.address.replace("/a", "/gone")))


def test_a_further_address_gives_what_the_first_has_not(run, served):
    gone = served.address.replace("/a", "/gone")
    run(source(url=gone, mirrors=(gone, served.address), sha256=SHA))
    assert asked(served) == ["/gone", "/gone", "/a"]


@pytest.mark.parametrize("known", [{"sha256": SHA}, {}])
def test_what_has_arrived_is_not_asked_for_again_unless_it_has_changed_here(place, run, served, known):
    row, table = source(url=served.address, **known), place / "checksums.tsv"
    first = run(row, checksums=table)
    (place / "raw/d/manifest.json").unlink()  # as a killed run leaves it
    assert run(row, checksums=table) == first
    assert asked(served) == ["/a"]
    (place / "raw/d/a.tsv").write_bytes(CONTENT[::-1])
    assert run(row, checksums=table) == first
    assert asked(served) == ["/a", "/a"]
    assert (place / "raw/d/a.tsv").read_bytes() == CONTENT


def test_the_first_download_is_locked_and_a_later_change_refused_until_its_line_is_deleted(
    place, run, served, monkeypatch
):
    row, lock = source(url=served.address), place / "checksums.tsv"
    run(row, checksums=lock)
    (line,) = checksums.read(lock)
    assert (line.dataset, line.file, line.bytes, line.sha256) == ("d", "a.tsv", len(CONTENT), SHA)
    assert line.source == served.address
    shutil.rmtree(place / "raw")
    served.body = CONTENT[::-1]
    message = rf"(?s)expected: +{SHA}, as .*checksums\.tsv says.*delete the line of d a\.tsv from .*checksums\.tsv"
    with pytest.raises(InputError, match=message):
        run(row, checksums=lock)
    assert list(checksums.read(lock)) == [line]
    lock.unlink()
    (file,) = run(row, checksums=lock).files
    assert checksums.of(lock, dataset="d", file="a.tsv").sha256 == file.sha256 != SHA


def test_a_file_of_the_mirror_is_locked_and_held_to_the_lock_too(place, run):
    (place / "mirror/a.tsv").write_bytes(CONTENT)
    row = source(url="https://example.org/a.tsv")
    run(row, checksums=place / "checksums.tsv")
    assert [(line.source, line.sha256) for line in checksums.read(place / "checksums.tsv")] == [("mirror", SHA)]
    (place / "mirror/a.tsv").write_bytes(CONTENT[::-1])
    with pytest.raises(InputError, match=r"mirror/a\.tsv: sha256"):
        run(row, checksums=place / "checksums.tsv")


def test_a_file_of_ones_own_is_not_locked_and_may_change(place, run):
    for content in (CONTENT, CONTENT[::-1]):
        (place / "mirror/a.tsv").write_bytes(content)
        (file,) = run(source(), checksums=place / "checksums.tsv").files
        assert file.path.read_bytes() == content
    assert not (place / "checksums.tsv").exists()


def test_a_lock_that_cannot_be_written_is_said_with_the_line_to_add(place, run, served, capsys, monkeypatch):
    def read_only(_row, path, **_):
        raise PermissionError(13, "read-only", str(path))

    monkeypatch.setattr(checksums, "record", read_only)
    run(source(url=served.address), checksums=place / "checksums.tsv")
    assert f"add this line to it:\nd\ta.tsv\t{len(CONTENT)}\t{SHA}\t{served.address}" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_named(place, run, monkeypatch):
    (place / "mirror/a.tsv").write_bytes(CONTENT)
    monkeypatch.setattr(fetch.Path, "symlink_to", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(InputError, match=r"(?s)room enough.*No space left.*make room"):
        run(source())


@pytest.mark.parametrize("name", ["a.tsv.gz", "d/a.tsv.gz"])
def test_a_file_that_the_mirror_holds_gzipped_is_unpacked_and_checked_inside(place, run, name):
    (place / "mirror/d").mkdir()
    (place / "mirror" / name).write_bytes(gzip.compress(CONTENT))
    (file,) = run(source(size=len(CONTENT), sha256=SHA)).files
    assert not file.path.is_symlink()
    assert file.path.read_bytes() == CONTENT
    with pytest.raises(InputError, match=r"a\.tsv\.gz: sha256"):
        run(source(sha256="0" * 64))


def test_a_broken_gzip_file_of_the_mirror_is_named(place, run):
    (place / "mirror/a.tsv.gz").write_bytes(gzip.compress(CONTENT)[:-4])
    with pytest.raises(InputError, match=r"(?s)a\.tsv\.gz.*a whole gzip file"):
        run(source())
    assert not (place / "raw/d/a.tsv").exists()


def test_mirror_folders_are_asked_in_order_each_for_four_names(tmp_path):
    names = ["d/a.txt", "a.txt", "d/a.txt.gz", "a.txt.gz"]
    folders = [tmp_path / "one", tmp_path / "two"]
    every = [folder / name for folder in folders for name in names]
    assert find(folders, dataset="d", file="a.txt") is None
    for place in reversed(every):
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
        assert find(folders, dataset="d", file="a.txt") == place


def test_two_processes_do_not_fetch_the_same_dataset_at_once(place, run):
    (place / "raw/.locks").mkdir(parents=True)
    with (
        FileLock(place / "raw/.locks/d.lock"),
        pytest.raises(InputError, match=r"(?s)one process that fetches it.*another one at it"),
    ):
        run(source())


@pytest.fixture
def listed(place, run):
    """Options that name a fetched list of eight samples of two studies."""
    lines = [f"s{n}\tstudy{n % 2}\tnormal\t{'gone' if n == 3 else 'a'}\n" for n in range(8)]
    (place / "mirror/list.tsv").write_text("sample\tstudy\tmalignancy\tpath\n" + "".join(lines))
    run(source("list.tsv", dataset="list"), dataset="list", reader="sample_table")
    return {"samples": place / "raw/list/manifest.json", "samples_reader": "sample_table"}


def template(served, path="a?{sample}"):
    return source("{sample}.gz", url=served.address.removesuffix("a") + path)


def test_a_template_gives_a_file_a_sample_with_its_facts(run, served, listed, capsys):
    files = run(template(served), **listed).files
    assert [file.name for file in files] == [f"s{n}.gz" for n in range(8)]
    assert [file.sample for file in files] == [f"s{n}" for n in range(8)]
    assert files[4].facts == {"study": "study0", "malignancy": "normal", "path": "a"}
    assert len(served.requests) == 8
    said = capsys.readouterr().err
    assert "8 samples; 8 normal, 0 tumour, 0 unknown" in said
    assert "(8 of 8 files)" in said


def test_a_template_without_a_list_asks_for_one(run):
    with pytest.raises(InputError, match=r"(?s)url of d.*a template, https://x/\{sra\}.*the column samples of d"):
        run(source("{sra}.RData", url="https://x/{sra}"))


def test_excluded_studies_are_left_out(run, served, listed, capsys):
    files = run(template(served), **listed, exclude_studies=["study1", "other"]).files
    assert [file.sample for file in files] == ["s0", "s2", "s4", "s6"]
    assert "study study1 is left out: 4 samples" in capsys.readouterr().err
    with pytest.raises(InputError, match=r"(?s)at least one sample.*shorten exclude_studies"):
        run(template(served), **listed, exclude_studies=["study1", "study0"])


def test_one_sample_that_fails_does_not_keep_the_others_from_arriving(place, run, served, listed):
    with pytest.raises(InputError, match=r"(?s)s3\.gz from .*404"):
        run(template(served, "{path}"), **listed)
    assert len(list((place / "raw/d").glob("*.gz"))) == 7
    assert not (place / "raw/d/manifest.json").exists()


def test_after_a_few_failures_the_rest_is_not_tried(run, served, listed):
    with pytest.raises(InputError, match=r"(?s)5 files.*expected: +8 files.*404"):
        run(template(served, "gone?{sample}"), **listed)
    assert len(served.requests) == 5


def test_a_list_without_an_address_is_said_how_to_make(run):
    with pytest.raises(InputError, match=r"(?s)put list\.tsv into .*mirror: The list: tab-separated under that name"):
        run(source("list.tsv", dataset="list"), dataset="list", reader="sample_table")


def test_the_demo_needs_neither_mirror_nor_internet(place, root):
    files, rows = (getattr(tables, f"read_{name}")(root / f"config/{name}.tsv") for name in ("files", "datasets"))
    for name in ("hgnc_demo", "pbmc68k_reduced"):
        manifest = place / "raw" / name / "manifest.json"
        commands.fetch(dataset=rows.row(name), files=list(files.of(name)), manifest=manifest, checkout=root)
        assert raw.read(manifest).only().path.is_file()
