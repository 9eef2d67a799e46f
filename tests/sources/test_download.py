"""Downloads from a real server on loopback that misbehaves: what arrives is right, or nothing takes the name."""

import hashlib
import json
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from celllm.base.errors import InputError
from celllm.sources import download as downloads
from celllm.sources.checksums import Expected
from celllm.sources.download import DownloadError, download, public

CONTENT = np.random.default_rng(5).bytes(300_000)  # what the server of conftest.py serves
SHA = hashlib.sha256(CONTENT).hexdigest()
RIGHT = Expected(said_by="as the table says", remedy="mend it", bytes=len(CONTENT), sha256=SHA)
LIE = "bytes 70000-299999/300000"


@pytest.fixture
def place(tmp_path):
    (tmp_path / "raw").mkdir()
    return tmp_path / "raw" / "a.bin"


def get(address, place, expected=(RIGHT,)):
    return download(address, place, expected=expected)


def left(place):
    """What lies in the folder, files under way too."""
    return sorted(str(path.relative_to(place.parent)) for path in place.parent.rglob("*") if path.is_file())


def cut(at, **options):
    return lambda handler: handler.file(cut=at, **options)


def whole(body=CONTENT, **options):
    return lambda handler: handler.file(body, **options)


def status(code, body=b"", **headers):
    return lambda handler: handler.answer(code, body, **headers)


def lie(**headers):
    """Answer a range with another part than asked for."""
    return status(206, b"x" * 230_000, **headers)


def unannounced(body):
    """Send bytes without saying how many."""

    def answer(handler):
        handler.send_response(200)
        handler.send_header("Connection", "close")
        handler.end_headers()
        handler.wfile.write(body)
        handler.hang_up()

    return answer


def stalling(handler):
    """Send a part, then nothing for longer than anybody waits."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(CONTENT)))
    handler.send_header("ETag", '"1"')
    handler.end_headers()
    handler.wfile.write(CONTENT[:120_000])
    handler.wfile.flush()
    threading.Event().wait(1.5 * downloads.READ_S)
    handler.hang_up()


@pytest.mark.parametrize(
    ("behaviours", "ranges"),
    [
        pytest.param([whole()], [0], id="at once"),
        pytest.param([cut(70_000), cut(100_000), cut(1), whole()], [0, 70_000, 170_000, 170_001], id="cut three times"),
        pytest.param([cut(70_000, ranges=False), cut(10, ranges=False), whole(ranges=False)], None, id="no ranges"),
        pytest.param([cut(70_000, etag=None), whole(etag=None)], [0, 0], id="no validator"),
        pytest.param([cut(70_000, Accept_Ranges="none"), whole()], [0, 0], id="ranges refused"),
        pytest.param([cut(70_000, etag='W/"1"'), whole()], [0, 0], id="a weak ETag is no validator"),
        pytest.param([*[cut(20_000)] * 14, whole()], [20_000 * n for n in range(15)], id="new bytes reset the count"),
        pytest.param([cut(70_000), lie(Content_Range="bytes 0-299999/300000"), whole()], [0, 70_000, 0], id="start"),
        pytest.param([cut(70_000), lie(Content_Range="bytes 70000-9/400000"), whole()], [0, 70_000, 0], id="size"),
        pytest.param([cut(70_000), lie(Content_Range=LIE, ETag='"2"'), whole()], [0, 70_000, 0], id="validator"),
        pytest.param([cut(70_000), lie(), whole()], [0, 70_000, 0], id="no range named"),
        pytest.param([cut(70_000), status(416), whole()], [0, 70_000, 0], id="a range it does not have"),
        *[pytest.param([status(n), status(n), whole()], [0] * 3, id=str(n)) for n in (408, 500, 502, 503, 504)],
        pytest.param([stalling, whole()], [0, 65_536], id="stalled"),
    ],
)
def test_the_right_bytes_arrive_and_nothing_else_stays(server, place, behaviours, ranges):
    address = server.at("/a", *behaviours)
    assert get(address, place) == SHA
    assert place.read_bytes() == CONTENT
    assert left(place) == ["a.bin"]
    if ranges is not None:
        assert server.ranges() == [f"bytes={start}-" if start else None for start in ranges]


@pytest.mark.parametrize(
    ("behaviours", "expected", "message", "n_requests"),
    [
        *[
            pytest.param([status(n)], [RIGHT], f"/a answered: HTTP {n}", 1, id=str(n))
            for n in (400, 401, 403, 404, 410)
        ],
        pytest.param([status(503)], [RIGHT], r"HTTP 503 .*also after several tries", 4, id="503 for long"),
        pytest.param([cut(70_000, etag=None)], [RIGHT], r"4 times in a row$", 4, id="cut for good"),
        pytest.param([status(200, b"x" * 9, length=20)], [], "cut after 9 bytes of 20", 4, id="short"),
        pytest.param([whole(b"\n<!DOCTYPE html><html>Sorry</html>")], [], "a web page in place", 1, id="web page"),
        pytest.param([whole(b"")], [], "an empty file in place of the file", 1, id="empty"),
        pytest.param([whole(Content_Encoding="gzip")], [], "encoded as gzip", 1, id="encoded on the way"),
        pytest.param([whole(CONTENT[:-1])], [RIGHT], r"size.*300000 bytes, as the t.*: +299999 bytes", 1, id="size"),
        pytest.param([unannounced(CONTENT[:-1])], [RIGHT], r"found: +299999 bytes", 1, id="size not announced"),
        pytest.param(
            [whole()],
            [replace(RIGHT, sha256="0" * 64)],
            rf"sha256.*expected: +0{{64}}, as the table says.*found: +{SHA}.*do this: +mend it",
            1,
            id="checksum",
        ),
    ],
)
def test_what_is_not_the_file_is_refused_and_not_kept(server, place, behaviours, expected, message, n_requests):
    with pytest.raises((DownloadError, InputError), match=f"(?s){message}"):
        get(server.at("/a", *behaviours), place, expected)
    assert len(server.requests) == n_requests
    assert left(place) == []


def test_a_file_that_is_there_is_not_asked_for_if_right_and_stays_until_the_new_one_is(server, place):
    place.write_bytes(b"old")
    with pytest.raises(DownloadError):
        get(server.at("/a", status(404)), place)
    assert place.read_bytes() == b"old"
    address = server.at("/b", status(302, Location=server.at("/c", whole())))
    for _ in range(2):
        assert get(address, place) == SHA
    assert [path for path, _ in server.requests] == ["/a", "/b", "/c"]


def test_a_server_that_asks_for_time_is_given_it_and_one_that_packs_a_gzipped_file_is_let(server, place, monkeypatch):
    slept = []
    monkeypatch.setattr("time.sleep", slept.append)
    packed = place.with_name("a.txt.gz")
    behaviours = [status(429, Retry_After="7"), status(429, Retry_After="0"), whole(Content_Encoding="gzip")]
    get(server.at("/a", *behaviours), packed)
    assert slept[0] == 7
    assert packed.read_bytes() == CONTENT
    assert server.requests[0][1]["Accept-Encoding"] == "identity"


def test_a_transfer_given_up_keeps_its_part_and_the_next_call_resumes(server, place):
    address = server.at("/a", cut(70_000), cut(0), cut(0), cut(0), whole())
    message = r"cut after 70000 bytes of 300000 .*4 times in a row; 70000 bytes are kept"
    with pytest.raises(DownloadError, match=message):
        get(address, place)
    assert left(place) == [".partial/a.bin", ".partial/a.bin.json"]
    note = json.loads((place.parent / ".partial/a.bin.json").read_text())
    assert note == {"url": address, "validator": '"1"', "total": 300_000}
    get(address, place)
    assert server.ranges()[-1] == "bytes=70000-"
    assert place.read_bytes() == CONTENT


def test_a_part_from_another_address_is_not_continued(server, place):
    with pytest.raises(DownloadError):
        get(server.at("/a", cut(70_000), cut(0)), place)
    get(server.at("/b", whole()), place)
    assert (server.requests[-1][0], server.ranges()[-1]) == ("/b", None)
    assert place.read_bytes() == CONTENT


def test_a_part_that_is_whole_already_is_taken_as_it_is(server, place):
    address = server.at("/a", whole())
    (place.parent / ".partial").mkdir()
    (place.parent / ".partial/a.bin").write_bytes(CONTENT)
    note = {"url": address, "validator": '"1"', "total": len(CONTENT)}
    (place.parent / ".partial/a.bin.json").write_text(json.dumps(note))
    get(address, place)
    assert place.read_bytes() == CONTENT
    assert server.ranges() == ["bytes=300000-"]


@pytest.mark.usefixtures("server")  # little patience
def test_nobody_at_home_is_said_with_the_reason(place):
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as gone:
        port = gone.server_port
    with pytest.raises(DownloadError, match=r"answered: ConnectionError: .*refused"):
        get(f"http://127.0.0.1:{port}/a", place)


def test_a_site_that_wants_a_browser_is_sent_one(server, place, monkeypatch):
    def browsers_only(handler):
        handler.file() if handler.headers["User-Agent"].startswith("Mozilla/") else handler.answer(403)

    address = server.at("/a", browsers_only)
    with pytest.raises(DownloadError, match="HTTP 403"):
        get(address, place)
    assert server.requests[0][1]["User-Agent"].startswith("celllm/")
    monkeypatch.setitem(downloads.USER_AGENTS, "0.0.1", downloads.BROWSER)
    get(address, place)


def test_a_transfer_that_is_interrupted_keeps_its_part(server, place, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    address = server.at("/a", whole())
    with monkeypatch.context() as patch:
        patch.setattr(downloads.tqdm, "update", stop)
        with pytest.raises(KeyboardInterrupt):
            get(address, place)
    assert not place.exists()
    get(address, place)
    assert server.ranges()[1] is not None
    assert place.read_bytes() == CONTENT


def test_credentials_are_never_shown(server, place):
    port = server.at("/a", status(404)).split(":")[2]
    with pytest.raises(DownloadError) as caught:
        get(f"http://user:hidden@127.0.0.1:{port}?x=1&token=hidden&y=2", place)
    assert "hidden" not in str(caught.value)
    assert public("https://u:p@x.org/a?key=k") == "https://x.org/a?key=***"


def test_a_log_gets_plain_lines_that_count_resumed_bytes(server, place, capsys, monkeypatch):
    monkeypatch.setattr(downloads, "LOG_EVERY_S", 0.0)
    get(server.at("/a", cut(70_000), whole()), place)
    lines = capsys.readouterr().err.splitlines()
    assert all(line.startswith("a.bin: ") for line in lines)
    assert "300k/300k" in lines[-1]
