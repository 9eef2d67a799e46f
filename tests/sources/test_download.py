"""Downloads from a real server on loopback that misbehaves: what arrives is right, or nothing takes the name."""

import hashlib
import json
import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from celllm.base.errors import InputError
from celllm.sources import resume
from celllm.sources.checksums import Expected
from celllm.sources.download import DownloadError, download, progress
from celllm.sources.resume import public


@pytest.fixture
def place(tmp_path):
    (tmp_path / "raw").mkdir()
    return tmp_path / "raw" / "a.bin"


@pytest.fixture
def right(server):
    return Expected(said_by="as the table says", remedy="mend it", bytes=len(server.content), sha256=server.sha256)


def left(place):
    """What lies in the folder, files under way too."""
    return sorted(str(path.relative_to(place.parent)) for path in place.parent.rglob("*") if path.is_file())


def cut(at, **options):
    return lambda handler: handler.file(cut=at, **options)


def whole(**options):
    return lambda handler: handler.file(**options)


def status(code, **headers):
    return lambda handler: handler.answer(code, **headers)


def test_a_file_arrives_whole_and_nothing_else_stays(server, place, right, quick):
    address = server.at("/a", whole())
    got = download([address], place, expected=[right], patience=quick)
    assert got == (address, server.sha256)
    assert place.read_bytes() == server.content
    assert left(place) == ["a.bin"]


def test_a_file_of_which_nothing_is_known_is_measured(server, place, quick):
    _, sha256 = download([server.at("/a", whole(etag=None))], place, patience=quick)
    assert sha256 == server.sha256


def test_a_transfer_cut_three_times_goes_on_and_gives_the_same_bytes(server, place, right, quick):
    address = server.at("/a", cut(70_000), cut(100_000), cut(1), whole())
    download([address], place, expected=[right], patience=quick)
    assert place.read_bytes() == server.content
    assert server.ranges() == [None, "bytes=70000-", "bytes=170000-", "bytes=170001-"]
    assert left(place) == ["a.bin"]


def test_a_server_that_cannot_go_on_is_asked_for_all_of_it_again(server, place, right, quick):
    address = server.at("/a", cut(70_000, ranges=False), cut(100_000, ranges=False), whole(ranges=False))
    download([address], place, expected=[right], patience=quick)
    assert place.read_bytes() == server.content


def test_without_a_validator_no_part_is_asked_for(server, place, right, quick):
    address = server.at("/a", cut(70_000, etag=None), whole(etag=None))
    download([address], place, expected=[right], patience=quick)
    assert server.ranges() == [None, None]
    assert place.read_bytes() == server.content


def test_a_weak_etag_is_no_validator(server, place, right, quick):
    address = server.at("/a", cut(70_000, etag='W/"1"'), whole())
    download([address], place, expected=[right], patience=quick)
    assert server.ranges() == [None, None]


def test_new_bytes_start_the_count_of_tries_again(server, place, right, quick):
    address = server.at("/a", *[cut(20_000)] * 14, whole())
    download([address], place, expected=[right], patience=quick)
    assert len(server.requests) == 15
    assert place.read_bytes() == server.content


def test_a_transfer_given_up_keeps_its_part_and_the_next_call_goes_on(server, place, right, quick):
    address = server.at("/a", cut(70_000), cut(0), cut(0), cut(0), whole())
    with pytest.raises(
        DownloadError, match=r"cut after 70000 bytes of 300000 .*4 times in a row; 70000 bytes are kept"
    ):
        download([address], place, expected=[right], patience=quick)
    assert left(place) == [".partial/a.bin", ".partial/a.bin.json"]
    note = json.loads((place.parent / ".partial/a.bin.json").read_text())
    assert note == {"url": address, "validator": '"1"', "total": 300_000}
    download([address], place, expected=[right], patience=quick)
    assert server.ranges()[-1] == "bytes=70000-"
    assert place.read_bytes() == server.content


def test_a_part_that_nothing_can_go_on_with_is_not_kept(server, place, right, quick):
    with pytest.raises(DownloadError, match=r"4 times in a row$"):
        download([server.at("/a", cut(70_000, etag=None))], place, expected=[right], patience=quick)
    assert left(place) == []


def test_a_part_from_another_address_is_not_gone_on_with(server, place, right, quick):
    broken, good = server.at("/a", cut(70_000), cut(0)), server.at("/b", whole())
    download([broken, good], place, expected=[right], patience=quick)
    assert server.requests[-1][0] == "/b"
    assert server.ranges()[-1] is None
    assert place.read_bytes() == server.content


def test_a_file_that_changes_between_two_tries_is_taken_anew(server, place, quick):
    new = server.content[::-1]
    address = server.at("/a", cut(70_000), whole(body=new, etag='"2"'))
    _, sha256 = download([address], place, patience=quick)
    assert place.read_bytes() == new
    assert sha256 == hashlib.sha256(new).hexdigest()


@pytest.mark.parametrize(
    "lie",
    [
        pytest.param({"Content_Range": "bytes 0-299999/300000"}, id="another start"),
        pytest.param({"Content_Range": "bytes 70000-299999/400000"}, id="another size"),
        pytest.param({"Content_Range": "bytes 70000-299999/300000", "ETag": '"2"'}, id="another validator"),
        pytest.param({}, id="no range named"),
    ],
)
def test_a_part_that_is_not_the_one_asked_for_is_not_used(server, place, right, quick, lie):
    address = server.at("/a", cut(70_000), lambda handler: handler.answer(206, b"x" * 230_000, **lie), whole())
    download([address], place, expected=[right], patience=quick)
    assert server.ranges() == [None, "bytes=70000-", None]
    assert place.read_bytes() == server.content


def test_a_part_that_is_whole_already_is_taken_as_it_is(server, place, right, quick):
    address = server.at("/a", whole())
    (place.parent / ".partial").mkdir()
    (place.parent / ".partial/a.bin").write_bytes(server.content)
    note = {"url": address, "validator": '"1"', "total": len(server.content)}
    (place.parent / ".partial/a.bin.json").write_text(json.dumps(note))
    download([address], place, expected=[right], patience=quick)
    assert place.read_bytes() == server.content
    assert server.ranges() == ["bytes=300000-"]


def test_a_range_the_server_does_not_have_starts_anew(server, place, right, quick):
    address = server.at("/a", cut(70_000), status(416), whole())
    download([address], place, expected=[right], patience=quick)
    assert server.ranges() == [None, "bytes=70000-", None]
    assert place.read_bytes() == server.content


def test_a_body_shorter_than_announced_never_takes_the_name(server, place, quick):
    address = server.at("/a", lambda handler: handler.answer(200, b"x" * 1000, length=2000))
    with pytest.raises(DownloadError, match="cut after 1000 bytes of 2000"):
        download([address], place, expected=[], patience=quick)
    assert left(place) == []


def test_a_file_shorter_than_the_table_says_is_refused_before_it_is_read(server, place, right, quick):
    address = server.at("/a", whole(body=server.content[:-1]))
    told = []
    with pytest.raises(InputError, match=r"(?s)size.*expected: +300000 bytes, as the table says.*found: +299999 bytes"):
        download([address], place, expected=[right], patience=quick, report=lambda size, _: told.append(size))
    assert told == []
    assert left(place) == []


def test_a_file_of_unannounced_size_that_is_too_short_is_refused(server, place, right, quick):
    def without_length(handler):
        handler.send_response(200)
        handler.send_header("Connection", "close")
        handler.end_headers()
        handler.wfile.write(server.content[:-1])
        handler.hang_up()

    with pytest.raises(InputError, match=r"found: +299999 bytes"):
        download([server.at("/a", without_length)], place, expected=[right], patience=quick)
    assert left(place) == []


def test_a_file_with_another_checksum_is_refused_with_both_and_the_remedy(server, place, right, quick):
    wrong = replace(right, sha256="0" * 64)
    with pytest.raises(
        InputError,
        match=rf"(?s)sha256.*expected: +0{{64}}, as the table says.*found: +{server.sha256}.*do this: +mend it",
    ):
        download([server.at("/a", whole())], place, expected=[wrong], patience=quick)
    assert left(place) == []


@pytest.mark.parametrize("code", [400, 401, 403, 404, 410])
def test_a_refusal_is_final_at_once(server, place, right, quick, code):
    with pytest.raises(DownloadError, match=rf"/a answered: HTTP {code}"):
        download([server.at("/a", status(code))], place, expected=[right], patience=quick)
    assert len(server.requests) == 1
    assert left(place) == []


@pytest.mark.parametrize("code", [500, 502, 503, 504, 408])
def test_a_server_in_trouble_is_asked_again(server, place, right, quick, code):
    address = server.at("/a", status(code), status(code), whole())
    download([address], place, expected=[right], patience=quick)
    assert len(server.requests) == 3


def test_a_server_in_trouble_for_long_is_given_up(server, place, right, quick):
    with pytest.raises(DownloadError, match=r"HTTP 503 .*also after several tries"):
        download([server.at("/a", status(503))], place, expected=[right], patience=quick)
    assert len(server.requests) == quick.attempts
    assert left(place) == []


def test_a_server_that_asks_for_time_is_given_it(server, place, right, quick):
    address = server.at("/a", status(429, Retry_After="1"), status(429, Retry_After="0"), whole())
    started = time.monotonic()
    download([address], place, expected=[right], patience=quick)
    assert time.monotonic() - started >= 1
    assert place.read_bytes() == server.content


def test_a_stalled_connection_counts_as_cut(server, place, right, quick):
    release = threading.Event()

    def stall(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(server.content)))
        handler.send_header("ETag", '"1"')
        handler.end_headers()
        handler.wfile.write(server.content[:70_000])
        handler.wfile.flush()
        release.wait(5)
        handler.hang_up()

    download([server.at("/a", stall, whole())], place, expected=[right], patience=quick)
    release.set()
    assert server.ranges() == [None, "bytes=70000-"] or server.ranges() == [None, "bytes=65536-"]
    assert place.read_bytes() == server.content


def test_a_slow_connection_is_waited_for(server, place, right, quick):
    def drip(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(server.content)))
        handler.end_headers()
        for start in range(0, len(server.content), 60_000):
            handler.wfile.write(server.content[start : start + 60_000])
            time.sleep(0.1)

    download([server.at("/a", drip)], place, expected=[right], patience=quick)
    assert len(server.requests) == 1
    assert place.read_bytes() == server.content


def test_nobody_at_home_is_said_with_the_reason(place, right, quick, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as gone:
        port = gone.server_port
    with pytest.raises(DownloadError, match=r"answered: ConnectionError: .*refused"):
        download([f"http://127.0.0.1:{port}/a"], place, expected=[right], patience=quick)
    assert left(place) == []


def test_a_site_that_wants_a_browser_is_sent_one(server, place, right, quick, monkeypatch):
    def browsers_only(handler):
        handler.file() if handler.headers["User-Agent"].startswith("Mozilla/") else handler.answer(403)

    address = server.at("/a", browsers_only)
    with pytest.raises(DownloadError, match="HTTP 403"):
        download([address], place, expected=[right], patience=quick)
    assert server.requests[0][1]["User-Agent"].startswith("celllm/")
    monkeypatch.setitem(resume.USER_AGENTS, "0.0.1", resume.BROWSER)
    download([address], place, expected=[right], patience=quick)
    assert place.read_bytes() == server.content


def test_the_next_address_is_asked_where_one_fails_and_all_answers_are_listed(server, place, right, quick):
    gone, wrong, good = server.at("/1", status(404)), server.at("/2", whole(body=b"other")), server.at("/3", whole())
    got = download([gone, wrong, good], place, expected=[right], patience=quick)
    assert got == (good, server.sha256)
    place.unlink()
    with pytest.raises(DownloadError) as caught:
        download([gone, wrong], place, expected=[right], patience=quick)
    (first, refusal), (second, mismatch) = caught.value.answers
    assert (first, second) == (gone, wrong)
    assert "404" in refusal
    assert "size 5 bytes, not 300000 bytes" in mismatch
    assert left(place) == []


@pytest.mark.parametrize(
    ("body", "found"),
    [
        pytest.param(b"\n<!DOCTYPE html><html>Sorry</html>", "a web page", id="page"),
        pytest.param(b"", "an empty file", id="empty"),
    ],
)
def test_what_is_plainly_no_data_is_refused_though_the_server_calls_it_well(server, place, quick, body, found):
    with pytest.raises(DownloadError, match=f"{found} in place of the file"):
        download([server.at("/a", whole(body=body))], place, expected=[], patience=quick)
    assert left(place) == []


def test_a_file_comes_as_it_is_and_not_unpacked_on_the_way(server, place, quick):
    address = server.at("/a", whole(Content_Encoding="gzip"))
    with pytest.raises(DownloadError, match="encoded as gzip"):
        download([address], place, expected=[], patience=quick)
    packed = place.with_name("a.txt.gz")
    download([address], packed, expected=[], patience=quick)
    assert packed.read_bytes() == server.content
    assert server.requests[0][1]["Accept-Encoding"] == "identity"


def test_redirects_are_followed(server, place, right, quick):
    target = server.at("/b", whole())
    download([server.at("/a", status(302, Location=target))], place, expected=[right], patience=quick)
    assert place.read_bytes() == server.content


def test_a_proxy_of_the_environment_is_used(server, place, right, quick, monkeypatch):
    asked = []

    class Proxy(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", str(len(server.content)))
            self.end_headers()
            self.wfile.write(server.content)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as proxy:
        threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        for name in ("NO_PROXY", "no_proxy", "http_proxy"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.server_port}")
        download(["http://nowhere.invalid/a"], place, expected=[right], patience=quick)
        proxy.shutdown()
    assert asked == ["http://nowhere.invalid/a"]
    assert place.read_bytes() == server.content


def test_bytes_are_reported_as_they_come_resumed_ones_included(server, place, right, quick):
    told = []
    address = server.at("/a", cut(70_000), whole())
    download([address], place, expected=[right], patience=quick, report=lambda size, total: told.append((size, total)))
    assert told[0] == (0, 300_000)
    assert (70_000, 300_000) in told
    assert told[-1] == (300_000, 300_000)


def test_what_the_report_raises_ends_the_transfer_and_keeps_the_part(server, place, right, quick):
    def stop(size, _total):
        if size > 100_000:
            raise KeyboardInterrupt

    address = server.at("/a", whole())
    with pytest.raises(KeyboardInterrupt):
        download([address], place, expected=[right], patience=quick, report=stop)
    assert not place.exists()
    download([address], place, expected=[right], patience=quick)
    assert server.ranges()[1] is not None
    assert place.read_bytes() == server.content


def test_a_file_that_is_there_stays_until_the_new_one_is_right(server, place, right, quick):
    place.write_bytes(b"old")
    with pytest.raises(DownloadError):
        download([server.at("/a", status(404))], place, expected=[right], patience=quick)
    assert place.read_bytes() == b"old"
    download([server.at("/a", whole())], place, expected=[right], patience=quick)
    assert place.read_bytes() == server.content


def test_credentials_are_never_shown(server, place, quick):
    port = server.at("/a", status(404)).split(":")[2]
    with pytest.raises(DownloadError) as caught:
        download([f"http://user:hidden@127.0.0.1:{port}?x=1&token=hidden&y=2"], place, patience=quick)
    assert "hidden" not in str(caught.value)
    assert public("https://u:p@x.org/a?key=k") == "https://x.org/a?key=***"


def test_a_log_gets_plain_lines_about_a_long_download(capsys, monkeypatch):
    monkeypatch.setattr("celllm.sources.download.LOG_EVERY_S", 0.0)
    with progress("a") as report:
        for size in (500, 1500, 0, 2000):
            report(size, 2000)
    lines = capsys.readouterr().err.splitlines()
    assert all(line.startswith("a: ") for line in lines)
    assert "2.00k/2.00k" in lines[-1]
