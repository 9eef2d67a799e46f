"""Archives read as streams: nothing is written, nothing in them is trusted."""

import gzip
import io
import tarfile
import zipfile

import pytest

from celllm.base.errors import InputError
from celllm.sources import archives

TEXT = b"".join(b"line %d\n" % i for i in range(20_000))


def tar(path, *entries, mode="w"):
    with tarfile.open(path, mode) as archive:
        for name, content in entries:
            entry = tarfile.TarInfo(name)
            if not isinstance(content, tuple):
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
            else:
                (entry.type,) = content
                entry.linkname = "/etc/passwd"
                archive.addfile(entry)
    return path


def read(path, **options):
    return {name: stream.read() for name, stream in archives.members(path, **options)}


@pytest.mark.parametrize("form", ["w", "w:gz", "zip"])
def test_members_come_with_gzip_undone_without_what_macos_adds_and_nothing_is_written(tmp_path, form):
    members = {"x/a.txt": TEXT, "b.gz": gzip.compress(TEXT), "x/._a.txt": b"1", "__MACOSX/a.txt": b"2"}
    if form == "zip":
        with zipfile.ZipFile(tmp_path / "a", "w") as archive:
            for name, content in members.items():
                archive.writestr(name, content)
    else:
        tar(tmp_path / "a", *members.items(), ("x", (tarfile.DIRTYPE,)), mode=form)
    assert read(tmp_path / "a") == {"x/a.txt": TEXT, "b.gz": TEXT}
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("name", ["/etc/passwd", "../out.txt", "x/../../out.txt", "C:/out.txt", "..\\out.txt"])
def test_a_path_that_leaves_the_archive_is_refused(tmp_path, name):
    path = tar(tmp_path / "a.tar", (name, b"1"))
    with pytest.raises(InputError, match="a path that leaves the archive's folder"):
        read(path)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(zipfile.ZipInfo(name), b"1")
    with pytest.raises(InputError, match="a path that leaves the archive's folder"):
        read(tmp_path / "a.zip")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_a_link_or_a_device_is_refused(tmp_path, kind):
    with pytest.raises(InputError, match=r"member matrix\.mtx\n(?s:.*)a link or a device"):
        read(tar(tmp_path / "a.tar", ("matrix.mtx", (kind,))))
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        entry = zipfile.ZipInfo("matrix.mtx")
        entry.external_attr = 0o120777 << 16  # a link
        archive.writestr(entry, "/etc/passwd")
    with pytest.raises(InputError, match="a link or a device"):
        read(tmp_path / "a.zip")


def test_a_member_that_unpacks_to_more_than_the_limit_is_refused(tmp_path):
    path = tar(tmp_path / "a.tar", ("big.gz", gzip.compress(bytes(100_000))))
    assert path.stat().st_size < 20_000
    assert read(path, limit=100_000) == {"big.gz": bytes(100_000)}
    with pytest.raises(InputError, match=r"big\.gz: size once unpacked\n(?s:.*)at most 99999 bytes"):
        read(path, limit=99_999)
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("big", bytes(100_000))
    with pytest.raises(InputError, match="size once unpacked"):
        read(tmp_path / "a.zip", limit=99_999)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_truncated_archive_is_refused(tmp_path, share):
    whole = tar(tmp_path / "a.tar.gz", ("a", TEXT), ("b", TEXT), mode="w:gz").read_bytes()
    (tmp_path / "cut.tar.gz").write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(InputError, match=r"cut\.tar\.gz: \(whole file\)\n(?s:.*)fetch the file again"):
        read(tmp_path / "cut.tar.gz")


def test_a_damaged_archive_is_refused_though_the_damage_lies_behind_its_last_member(tmp_path):
    plain = tar(tmp_path / "a.tar", ("a", TEXT)).read_bytes() + bytes(1 << 20)
    whole = bytearray(gzip.compress(plain))
    whole[-6] ^= 255  # gzip's checksum
    (tmp_path / "a.tar.gz").write_bytes(whole)
    with pytest.raises(InputError, match="CRC check failed"):
        read(tmp_path / "a.tar.gz")
