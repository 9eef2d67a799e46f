"""One file from the network, resumed where it was cut: only a whole and right file takes the name.

pooch keeps a right file, downloads to a temporary name, compares checksums and renames; `Resuming` is what it
downloads with. What has arrived lies in `.partial/{name}` beside the file's place, with a note of the address and of
the validator (strong ETag or Last-Modified) that the server gave. A part is continued, by Range and If-Range, only if
the server vouches for it; a server that holds another file by now answers with all of it. Without a validator there is
no note, and the next try starts at the first byte.
"""

from __future__ import annotations

import contextlib
import json
import logging
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from secrets import SystemRandom
from typing import Any, Final, Never
from urllib.parse import urlsplit

import pooch  # type: ignore[import-untyped] # it has no types
import requests
import urllib3
from requests.adapters import HTTPAdapter
from tqdm import tqdm

from celllm import __version__
from celllm.base.errors import CellLMError, InputError
from celllm.sources.checksums import Expected, check

ATTEMPTS = 6
"""Tries in a row that bring nothing new; any new byte starts the count again."""
FIRST_WAIT_S = 1.0
"""Seconds before the second try; twice as many before each further one, up to MAX_WAIT_S."""
MAX_WAIT_S = 60.0
MAX_RETRY_AFTER_S = 600
"""Seconds that a server's Retry-After is granted at most."""
CONNECT_S = 15.0
READ_S = 60.0
"""Seconds without a byte after which a connection counts as cut."""
LOG_EVERY_S = 10.0
"""Seconds between two lines of a log about one file."""

PARTIAL: Final = ".partial"
"""Folder beside the file's place, so in the same file system."""
PIECE: Final = 1 << 16
OWN_NAME: Final = f"celllm/{__version__}"
BROWSER: Final = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0 Safari/537.36"
USER_AGENTS: Final = {
    "panglaodb.se": BROWSER,  # answers 403 to what does not call itself a browser
    "cf.10xgenomics.com": BROWSER,  # refuses some clients by their name
}
"""User-Agent by host, where a site needs another than ours."""
PASSING: Final = frozenset({408, 429, 500, 502, 503, 504})
WEB_PAGE: Final = (b"<!doctype html", b"<html")
USER: Final = re.compile(r"//[^/\s]*@")
SECRET: Final = re.compile(r"(?i)((?:token|key|secret|password|signature|sig|credential)=)[^&#\s]+")


class DownloadError(CellLMError):
    """An address does not give the file, now or in the next minutes."""


class Cut(Exception):
    """The connection broke off; another try may go on."""


def public(text: str) -> str:
    """Return an address, or text that holds some, without user, password and tokens, as others may see it."""
    return SECRET.sub(r"\1***", USER.sub("//", text))


def download(address: str, place: Path, *, expected: Sequence[Expected] = ()) -> str:
    """Download a file, check it before it takes its name, and return its sha256 in hex; a right one there is kept.

    InputError if it is of another size or checksum; DownloadError if the address does not give it.
    """
    pooch.get_logger().setLevel(logging.WARNING)
    known = next((said.sha256 for said in expected if said.sha256 is not None), None)
    if known is None:
        # nothing says that it is the file, and pooch would keep it
        place.unlink(missing_ok=True)
    resuming = Resuming(place, expected)
    try:
        pooch.retrieve(address, known, fname=place.name, path=place.parent, downloader=resuming)
    except DownloadError as error:
        msg = f"{public(address)} answered: {error}"
        raise DownloadError(msg) from None
    return resuming.sha256 or str(known)


class Resuming:
    """A downloader for pooch: it resumes with Range and If-Range, and tries again where that may help."""

    def __init__(self, place: Path, expected: Sequence[Expected]) -> None:
        self.part = place.parent / PARTIAL / place.name
        self.note = self.part.with_name(f"{place.name}.json")
        self.sha256 = ""
        """Checksum of the whole file in hex, once it is here."""
        self._expected = expected

    def __call__(self, url: str, output_file: str, _pooch: object = None, *, check_only: bool = False) -> None:
        """Download `url` and move it to `output_file`."""
        try:
            self._until_whole(url)
            self._check(url)
        except InputError:
            self._discard()
            raise
        self.part.replace(output_file)
        self._discard()

    def _until_whole(self, url: str) -> None:
        """Ask until the file is whole; each try resumes where the last one was cut."""
        furthest, fruitless = self._size() if self._resumable(url) else 0, 0
        with session_for(url) as session:
            while True:
                try:
                    return self._receive(session, url)
                except Cut as cut:
                    fruitless = 1 if self._size() > furthest else fruitless + 1
                    furthest = max(furthest, self._size())
                    if not self.note.exists():
                        self._discard()
                    if fruitless >= ATTEMPTS:
                        kept = f"; {self._size()} bytes are kept for the next call" if self._size() else ""
                        msg = f"{cut}, {fruitless} times in a row{kept}"
                        raise DownloadError(msg) from None
                wait_s = min(MAX_WAIT_S, FIRST_WAIT_S * 2 ** (fruitless - 1))
                time.sleep(wait_s * SystemRandom().uniform(0.5, 1.0))

    def _receive(self, session: requests.Session, url: str) -> None:
        """Ask once, for what is not there yet, and write it down as it comes."""
        note = self._resumable(url)
        size = self._size() if note else 0
        asked = {"Range": f"bytes={size}-", "If-Range": note["validator"]} if size else {}
        try:
            response = session.get(url, headers=asked, stream=True, timeout=(CONNECT_S, READ_S))
        except requests.RequestException as error:
            reason = getattr(error.args[0], "reason", None) if error.args else None
            raise DownloadError(public(f"{type(error).__name__}: {reason or error}")) from None
        with response:
            if asked and response.status_code == 416 and size == note["total"]:
                return
            if response.status_code == 200:
                note, size = self._begin(url, response), 0
            elif not asked or response.status_code not in {206, 416}:
                raise DownloadError(_refusal(response))
            elif not _continues(response, note, size):
                self._discard()
                named = response.headers.get("Content-Range", "not named")
                msg = f"HTTP {response.status_code}, another part than asked for ({named})"
                raise Cut(msg)
            total = note["total"]
            check(self._expected, file=public(url), size=total)
            with self.part.open("ab") as file, _bar(self.part.name, size, total) as bar:
                try:
                    for piece in response.raw.stream(PIECE, decode_content=False):
                        file.write(piece)
                        size += len(piece)
                        bar.update(len(piece))
                except urllib3.exceptions.HTTPError as error:
                    raise _cut(size, total, type(error).__name__) from None
        if total is not None and size != total:
            raise _cut(size, total, "connection closed")

    def _begin(self, url: str, response: requests.Response) -> dict[str, Any]:
        """Start at the first byte, and note what the server calls this state of the file."""
        encoding = response.headers.get("Content-Encoding", "identity")
        if encoding != "identity" and self.part.suffix not in {".gz", ".tgz"}:
            msg = f"the file encoded as {encoding}, which was not asked for"
            raise DownloadError(msg)
        self._discard()
        self.part.parent.mkdir(parents=True, exist_ok=True)
        self.part.touch()
        etag = response.headers.get("ETag", "")
        # a weak ETag says nothing of bytes
        validator = etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified")
        length = response.headers.get("Content-Length", "")
        note = {"url": public(url), "validator": validator, "total": int(length) if length.isdecimal() else None}
        if validator and response.headers.get("Accept-Ranges", "").lower() != "none":
            self.note.write_text(json.dumps(note), encoding="utf-8")
        return note

    def _resumable(self, url: str) -> dict[str, Any]:
        """Return the note of a part that came from this address; empty where there is none."""
        try:
            note = json.loads(self.note.read_text(encoding="utf-8"))
            if self.part.is_file() and note["url"] == public(url) and isinstance(note["validator"], str):
                return {"total": None} | dict(note)
        except (OSError, ValueError, TypeError, KeyError):
            pass
        return {}

    def _size(self) -> int:
        return self.part.stat().st_size if self.part.is_file() else 0

    def _check(self, url: str) -> None:
        """Refuse another file, and what is no data: nothing, or the web page that some sites give with status 200."""
        with self.part.open("rb") as file:
            start = file.read(256).lstrip().lower()
        is_page = start.startswith(WEB_PAGE) and self.part.suffix not in {".html", ".htm"}
        if is_page or not self._size():
            self._discard()
            msg = f"{'a web page' if is_page else 'an empty file'} in place of the file"
            raise DownloadError(msg)
        self.sha256 = pooch.file_hash(str(self.part))
        check(self._expected, file=public(url), size=self._size(), sha256=self.sha256)

    def _discard(self) -> None:
        self.part.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.part.parent.rmdir()


def session_for(url: str) -> requests.Session:
    """Open a session that asks again where an answer is likely to pass, and sends what the host wants."""
    again = urllib3.Retry(
        total=None,
        connect=ATTEMPTS - 1,
        read=ATTEMPTS - 1,
        status=ATTEMPTS - 1,
        other=0,
        allowed_methods=frozenset({"GET"}),
        status_forcelist=PASSING,
        backoff_factor=FIRST_WAIT_S,
        backoff_jitter=FIRST_WAIT_S,
        backoff_max=MAX_WAIT_S,
        retry_after_max=MAX_RETRY_AFTER_S,
        raise_on_status=False,
    )
    session = requests.Session()
    for scheme in ("https://", "http://"):
        session.mount(scheme, HTTPAdapter(max_retries=again))
    host = urlsplit(url).hostname or ""
    name = next((name for end, name in USER_AGENTS.items() if f".{host}".endswith(f".{end}")), OWN_NAME)
    # Ranges count the bytes of the file itself, so it must not come compressed on the way.
    session.headers.update({"User-Agent": name, "Accept-Encoding": "identity"})
    return session


def _continues(response: requests.Response, note: dict[str, Any], size: int) -> bool:
    """Whether an answer is a 206 that starts at byte `size`, in a file of the same size and validator."""
    unit, _, span = response.headers.get("Content-Range", "").partition(" ")
    part, _, total = span.partition("/")
    given = (response.headers.get("ETag"), response.headers.get("Last-Modified"))
    return (
        response.status_code == 206
        and unit == "bytes"
        and part.partition("-")[0] == str(size)
        and (note["total"] is None or total in {"*", str(note["total"])})
        and (note["validator"] in given or given == (None, None))
    )


def _cut(size: int, total: int | None, why: str) -> Cut:
    return Cut(f"cut after {size} bytes{'' if total is None else f' of {total}'} ({why})")


def _refusal(response: requests.Response) -> str:
    text = f"HTTP {response.status_code} {response.reason or ''}".rstrip()
    return f"{text}, also after several tries" if response.status_code in PASSING else text


def _bar(name: str, size: int, total: int | None) -> tqdm[Never]:
    """Show a download: a bar with size and rate on a terminal, a plain line now and then in a log."""
    options: dict[str, Any] = {"mininterval": 0.1, "delay": 0.1}
    if not sys.stderr.isatty():
        options = {"mininterval": LOG_EVERY_S, "delay": LOG_EVERY_S, "file": _Lines()}
    return tqdm(desc=name, initial=size, total=total, unit="B", unit_scale=True, miniters=1, leave=False, **options)


class _Lines:
    """Gives whole lines to a log, where tqdm goes back to the start of its line."""

    def write(self, text: str) -> None:
        if text.strip():
            sys.stderr.write(f"{text.strip()}\n")

    def flush(self) -> None:
        sys.stderr.flush()
