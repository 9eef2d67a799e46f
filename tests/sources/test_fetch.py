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
def run(place, rows):
    """Fetch files of a dataset through the command, as its rows say, and read the manifest."""

    def run(*files, dataset="d", reader="h5ad", mirror=("mirror",), **options):
        dataset_row = replace(rows.row("panglaodb"), dataset=dataset, title=f"The {dataset}", reader=reader)
        manifest = place / f"raw/{dataset}/manifest.json"
        folders = [place / name for name in mirror]
        commands.fetch(dataset=dataset_row, files=list(files), manifest=manifest, mirror=folders, **options)
        return raw.read(manifest)

    return run


def source(file="a.tsv", url=None, size=None, sha256=None, sample=None, dataset="d"):
    return SourceFile(dataset, file, url, size, sha256, sample)


@pytest.fixture
def served(place, server, monkeypatch):
    """The server of conftest.py with a file at /a; the network may be used."""
    monkeypatch.setattr(fetch, "download", DOWNLOAD)
    server.body = CONTENT
    server.address = server.at("/a", lambda handler: handler.file(server.body))
    server.gone = server.at("/gone", lambda handler: handler.answer(404))
    return server


def test_a_file_of_the_mirror_is_linked_and_written_down(place, run):
    (place / "mirror/a.tsv").write_bytes(CONTENT)
    row = source(url="https://example.org/a.tsv", size=len(CONTENT), sha256=SHA, sample="s1")
    (file,) = run(row).files
    assert file.path.is_symlink()
    assert file.path.read_bytes() == CONTENT
    assert (file.name, file.bytes, file.sha256, file.sample) == ("a.tsv", len(CONTENT), SHA, "s1")
    assert file.source == "mirror"
    assert run(row).files == (file,)


@pytest.mark.parametrize(
    ("row", "options", "message"),
    [
        (source(), {}, r"mirror: a\.tsv.*has no file a\.tsv.*put a\.tsv into .*mirror"),
        (source(), {"mirror": ()}, "no mirror folder was given.*--config mirror=FOLDER"),
        (source(url="repo:tables/none.tsv"), {}, "url of d.*the file repo:tables/none.tsv"),
        (source(url="package:celllm:none.py"), {}, "url of d.*the file package:celllm:none.py"),
        (source(url="package:no_such_package:a"), {}, "url of d.*the file package:no_such_package:a"),
        (source(url="ftp://x/a.tsv"), {}, r"https://….*found: +ftp://x"),
        (source("{sra}.RData", url="https://x/{sra}"), {}, r"a template, https://x/\{sra\}.*the column samples of d"),
        (source(), {"reader": "sample_table"}, r"put a\.tsv into .*mirror: The d: tab-separated under that name"),
    ],
    ids=["mirror", "no mirror", "checkout", "package", "no package", "address", "template", "list"],
)
def test_what_cannot_be_had_is_named_with_the_remedy(place, run, row, options, message):
    with pytest.raises(InputError, match=f"(?s){message}"):
        run(row, **options)
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


def test_a_failed_download_says_what_was_asked_and_where_else_the_file_may_lie(run, served):
    with pytest.raises(InputError, match=r"(?s)a\.tsv from http://127.*404.*mirror has no file a\.tsv"):
        run(source(url=served.gone))


@pytest.mark.parametrize("known", [{"sha256": SHA}, {}])
def test_a_download_is_checked_kept_and_asked_for_again_only_where_it_has_changed_here(place, run, served, known):
    row, table = source(url=served.address, **known), place / "checksums.tsv"
    first = run(row, checksums=table)
    assert (first.files[0].sha256, first.files[0].source) == (SHA, served.address)
    assert sorted(path.name for path in (place / "raw/d").iterdir()) == ["a.tsv", "manifest.json"]
    (place / "raw/d/manifest.json").unlink()  # as a killed run leaves it
    assert [file.sha256 for file in run(row, checksums=table).files] == [SHA]
    assert [path for path, _ in served.requests].count("/a") == 1
    (place / "raw/d/a.tsv").write_bytes(CONTENT[::-1])
    assert run(row, checksums=table) == first
    assert [path for path, _ in served.requests].count("/a") == 2
    assert (place / "raw/d/a.tsv").read_bytes() == CONTENT


def test_the_first_download_is_locked_and_a_later_change_refused_until_its_line_is_deleted(place, run, served):
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


def test_a_file_of_the_mirror_is_locked_too_and_one_of_ones_own_may_change(place, run):
    table = place / "checksums.tsv"
    (place / "mirror/a.tsv").write_bytes(CONTENT)
    run(source(), checksums=table)
    assert not table.exists()
    published = source(url="https://example.org/a.tsv")
    run(published, checksums=table)
    assert [(line.source, line.sha256) for line in checksums.read(table)] == [("mirror", SHA)]
    (place / "mirror/a.tsv").write_bytes(CONTENT[::-1])
    with pytest.raises(InputError, match=r"mirror/a\.tsv: sha256"):
        run(published, checksums=table)


def test_a_lock_or_folder_that_cannot_be_written_is_said(place, run, served, capsys, monkeypatch):
    def read_only(_row, path, **_):
        raise PermissionError(13, "read-only", str(path))

    monkeypatch.setattr(checksums, "record", read_only)
    run(source(url=served.address), checksums=place / "checksums.tsv")
    assert f"add this line to it:\nd\ta.tsv\t{len(CONTENT)}\t{SHA}\t{served.address}" in capsys.readouterr().err
    (place / "mirror/a.tsv").write_bytes(CONTENT)
    monkeypatch.setattr(fetch.Path, "symlink_to", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(InputError, match=r"(?s)room enough.*No space left.*make room"):
        run(source())


def test_a_file_that_the_mirror_holds_gzipped_is_unpacked_and_checked_inside(place, run):
    packed = place / "mirror/d/a.tsv.gz"
    packed.parent.mkdir()
    packed.write_bytes(gzip.compress(CONTENT))
    (file,) = run(source(size=len(CONTENT), sha256=SHA)).files
    assert not file.path.is_symlink()
    assert file.path.read_bytes() == CONTENT
    with pytest.raises(InputError, match=r"a\.tsv\.gz: sha256"):
        run(source(sha256="0" * 64))
    packed.write_bytes(gzip.compress(CONTENT)[:-4])
    with pytest.raises(InputError, match=r"(?s)a\.tsv\.gz.*a whole gzip file"):
        run(source())


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
    message = r"(?s)one process that fetches it.*another one at it"
    with FileLock(place / "raw/.locks/d.lock"), pytest.raises(InputError, match=message):
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


def test_a_template_gives_a_file_a_sample_with_its_facts_without_excluded_studies(run, served, listed, capsys):
    files = run(template(served), **listed, exclude_studies=["study1", "other"]).files
    assert [(file.name, file.sample) for file in files] == [(f"s{n}.gz", f"s{n}") for n in (0, 2, 4, 6)]
    assert files[2].facts == {"study": "study0", "malignancy": "normal", "path": "a"}
    said = capsys.readouterr().err
    for words in ("8 samples; 8 normal, 0 tumour", "study study1 is left out: 4 samples", "(4 of 4 files)"):
        assert words in said
    with pytest.raises(InputError, match=r"(?s)at least one sample.*shorten exclude_studies"):
        run(template(served), **listed, exclude_studies=["study1", "study0"])


def test_one_sample_that_fails_does_not_stop_the_others_and_many_end_it(place, run, served, listed):
    with pytest.raises(InputError, match=r"(?s)s3\.gz from .*404"):
        run(template(served, "{path}"), **listed)
    assert len(list((place / "raw/d").glob("*.gz"))) == 7
    assert not (place / "raw/d/manifest.json").exists()
    shutil.rmtree(place / "raw/d")
    served.requests.clear()
    with pytest.raises(InputError, match=r"(?s)5 files.*expected: +8 files.*404"):
        run(template(served, "gone?{sample}"), **listed)
    assert len(served.requests) == 5


def test_the_demo_needs_neither_mirror_nor_internet(place, root):
    files, rows = (getattr(tables, f"read_{name}")(root / f"config/{name}.tsv") for name in ("files", "datasets"))
    for name in ("hgnc_demo", "pbmc68k_reduced"):
        manifest = place / "raw" / name / "manifest.json"
        commands.fetch(dataset=rows.row(name), files=list(files.of(name)), manifest=manifest, checkout=root)
        assert raw.read(manifest).only().path.is_file()
