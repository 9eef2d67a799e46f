"""One file from the network: resumed where it breaks, checked before it takes its name.

Connections are set up, and answers such as 503 are asked again, by requests and urllib3. What no library in wide use
does is the rest: to go on in the middle of a file and yet never keep a wrong one. So that loop is here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from secrets import SystemRandom
from typing import Final

import requests
import urllib3
from filelock import FileLock, Timeout

from celllm.base.errors import CellLMError, InputError
from celllm.base.provenance import digest_of
from celllm.config.table import Table
from celllm.sources.answers import Cut, Patience, Refused, check_content, is_whole, length, plainly, session_for
from celllm.sources.hosts import Host, connection, row_for
from celllm.sources.partial import Partial
from celllm.sources.verify import Expected, check_digest, check_size

PIECE: Final = 1 << 16
"""Bytes written at once."""
PATIENCE: Final = Patience()

Report = Callable[[int, int | None], None]
"""Told the bytes that are there and the bytes of the whole, none where the server does not say."""


@dataclass(frozen=True)
class Manners:
    """How servers are asked."""

    hosts: Table[Host]
    """What each host wants."""
    locks: Path
    """Folder of the locks that keep the hosts' limits; shared by all that are to keep them together."""
    patience: Patience = PATIENCE
    """How long to try."""


@dataclass(frozen=True)
class Downloaded:
    """A file that is in its place."""

    source: str
    """The address that gave it."""
    bytes: int
    """Its size."""
    sha256: str
    """Its checksum in hex."""


class TransferError(CellLMError):
    """No address gave the file; `answers` says what each gave instead."""

    def __init__(self, answers: Sequence[tuple[str, str]]) -> None:
        self.answers = tuple(answers)
        super().__init__("; ".join(f"{address} answered: {text}" for address, text in answers))


def download(
    addresses: Sequence[str],
    place: Path,
    *,
    expected: Sequence[Expected],
    manners: Manners,
    report: Report = lambda _size, _total: None,
) -> Downloaded:
    """Bring a file from the first address that gives it, and check it before it takes its name.

    Parameters
    ----------
    addresses
        `https://` or `http://`; the same file each, tried in order.
    place
        Where it is to stand. Until it is whole and right it lies in `.partial/` beside. A transfer that broke off for
        good leaves its part there if the server can go on with it, and the next call does; a wrong file is removed.
    expected
        What is known of its size and checksum.
    manners
        How the servers are asked.
    report
        Called as bytes arrive; what it raises ends the transfer.

    Raises
    ------
    InputError
        If the only address gives a file of another size or checksum, or another process fetches the file now.
    TransferError
        If no address gives the file.
    """
    partial = Partial(place)
    manners.locks.mkdir(parents=True, exist_ok=True)
    lock = lock_of(place, manners.locks)
    try:
        with FileLock(lock, timeout=0):
            return _from_first(addresses, partial, expected, manners, report)
    except Timeout:
        raise InputError(
            file=place,
            field="(whole file)",
            expected="one process that fetches it",
            found=f"another one at it, which holds {lock}",
            remedy="wait for it to end, then try again",
        ) from None


def lock_of(place: Path, locks: Path) -> Path:
    """Return the file that a transfer to `place` locks."""
    return locks / f"file.{digest_of(str(place.absolute()))[:16]}.lock"


def _from_first(
    addresses: Sequence[str], partial: Partial, expected: Sequence[Expected], manners: Manners, report: Report
) -> Downloaded:
    answers: list[tuple[str, str]] = []
    for address in addresses:
        try:
            _transfer(address, partial, expected, manners, report)
            check_content(partial)
            check_size(partial.size, expected, file=address)
            check_digest(partial.sha256, expected, file=address)
        except Refused as error:
            answers.append((address, str(error)))
        except InputError as error:
            partial.discard()
            if len(addresses) == 1:
                raise
            answers.append((address, f"a file with {error.field} {error.found}, not {error.expected}"))
        else:
            partial.finish()
            return Downloaded(source=address, bytes=partial.size, sha256=partial.sha256)
    raise TransferError(answers)


def _transfer(address: str, partial: Partial, expected: Sequence[Expected], manners: Manners, report: Report) -> None:
    """Ask until the file is whole; each try goes on where the last one was cut."""
    host, patience = row_for(address, manners.hosts), manners.patience
    partial.open(address)
    furthest, fruitless = partial.size, 0
    with session_for(host, patience) as session:
        while True:
            try:
                with connection(address, host, manners.locks):
                    _receive(session, address, partial, expected, patience, report)
            except Cut as cut:
                fruitless = 1 if partial.size > furthest else fruitless + 1
                furthest = max(furthest, partial.size)
                if partial.validator is None:
                    partial.discard()
                if fruitless >= patience.attempts:
                    kept = f"; {partial.size} bytes are kept for the next call" if partial.size else ""
                    msg = f"{cut}, {fruitless} times in a row{kept}"
                    raise Refused(msg) from None
            else:
                return
            wait_s = min(patience.longest_s, patience.base_s * 2 ** (fruitless - 1))
            time.sleep(wait_s * SystemRandom().uniform(0.5, 1.0))


def _receive(
    session: requests.Session,
    address: str,
    partial: Partial,
    expected: Sequence[Expected],
    patience: Patience,
    report: Report,
) -> None:
    """Ask once, for what is not there yet, and write it down as it comes."""
    asked = {}
    if partial.size and partial.validator is not None:
        asked = {"Range": f"bytes={partial.size}-", "If-Range": partial.validator}
    try:
        response = session.get(address, headers=asked, stream=True, timeout=(patience.connect_s, patience.read_s))
    except requests.RequestException as error:
        raise Refused(plainly(error)) from None
    with response:
        if is_whole(response, partial, asked=bool(asked)):
            return
        if response.status_code == 200:
            partial.begin(address, response.headers, total=length(response))
        if partial.total is not None:
            check_size(partial.total, expected, file=address)
        report(partial.size, partial.total)
        try:
            for size in partial.append(response.raw.stream(PIECE, decode_content=False)):
                report(size, partial.total)
        except urllib3.exceptions.HTTPError as error:
            raise Cut(_where(partial, type(error).__name__)) from None
    if partial.total is not None and partial.size != partial.total:
        raise Cut(_where(partial, "connection closed"))


def _where(partial: Partial, why: str) -> str:
    total = "" if partial.total is None else f" of {partial.total}"
    return f"cut after {partial.size} bytes{total} ({why})"
