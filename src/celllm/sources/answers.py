"""A session that is patient with a server, and what its answers mean for a file that may be there in part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import requests
import urllib3
from requests.adapters import HTTPAdapter

from celllm.sources.hosts import OWN_NAME, Host
from celllm.sources.partial import Partial

PASSING: Final = frozenset({408, 429, 500, 502, 503, 504})
"""Answers that may be others in a minute."""
WEB_PAGE: Final = (b"<!doctype html", b"<html")


@dataclass(frozen=True)
class Patience:
    """How long a transfer is tried for."""

    attempts: int = 6
    """Tries in a row that bring nothing new; any new byte starts the count again."""
    base_s: float = 1.0
    """Seconds before the second try; twice as many before each further one."""
    longest_s: float = 60.0
    """Seconds before a try at most."""
    retry_after_s: int = 600
    """Seconds that a server's Retry-After is granted at most."""
    connect_s: float = 15.0
    """Seconds for setting up a connection."""
    read_s: float = 60.0
    """Seconds without a byte after which a connection counts as cut."""


class Cut(Exception):
    """The transfer broke off; another try may go on."""


class Refused(Exception):
    """The address does not give the file, now or in the next minutes."""


def session_for(host: Host, patience: Patience) -> requests.Session:
    """Open a session that sends what the host wants and asks again where an answer is likely to pass."""
    session = requests.Session()
    again = urllib3.Retry(
        total=None,
        connect=patience.attempts - 1,
        read=patience.attempts - 1,
        status=patience.attempts - 1,
        other=0,
        allowed_methods=frozenset({"GET"}),
        status_forcelist=PASSING,
        backoff_factor=patience.base_s,
        backoff_jitter=patience.base_s,
        backoff_max=patience.longest_s,
        retry_after_max=patience.retry_after_s,
        raise_on_status=False,
    )
    for scheme in ("https://", "http://"):
        session.mount(scheme, HTTPAdapter(max_retries=again))
    # Ranges count the bytes of the file itself, so it must not come compressed on the way.
    session.headers.update({"User-Agent": host.user_agent or OWN_NAME, "Accept-Encoding": "identity"})
    return session


def is_whole(response: requests.Response, partial: Partial, *, asked: bool) -> bool:
    """Tell whether all bytes are there already, from the answer's head.

    Parameters
    ----------
    response
        The answer, its body not yet read.
    partial
        What is there; removed if it no longer fits what the server has.
    asked
        Whether a range was asked for.

    Raises
    ------
    Cut
        If the range cannot be had; the next try starts at the first byte.
    Refused
        If the address does not give the file.
    """
    status = response.status_code
    if status == 200:
        encoding = response.headers.get("Content-Encoding", "identity")
        if encoding != "identity" and partial.place.suffix not in {".gz", ".tgz"}:
            msg = f"the file encoded as {encoding}, which was not asked for"
            raise Refused(msg)
        return False
    if asked and status == 206 and _goes_on(response, partial):
        return False
    if asked and status == 416 and partial.size == partial.total:
        return True
    if asked and status in {206, 416}:
        partial.discard()
        msg = f"HTTP {status}, another part than asked for ({response.headers.get('Content-Range', 'not named')})"
        raise Cut(msg)
    msg = f"HTTP {status} {response.reason or ''}".rstrip()
    if status in PASSING:
        msg += ", also after several tries"
    raise Refused(msg)


def _goes_on(response: requests.Response, partial: Partial) -> bool:
    """Whether a 206 starts at the byte asked for, in a file of the same size and validator."""
    unit, _, span = response.headers.get("Content-Range", "").partition(" ")
    part, _, total = span.partition("/")
    if unit != "bytes" or part.partition("-")[0] != str(partial.size):
        return False
    if partial.total is not None and total not in {"*", str(partial.total)}:
        return False
    given = (response.headers.get("ETag"), response.headers.get("Last-Modified"))
    return partial.validator in given or given == (None, None)


def length(response: requests.Response) -> int | None:
    """Return the size that the answer announces for its body, in bytes."""
    text = response.headers.get("Content-Length", "")
    return int(text) if text.isdecimal() else None


def check_content(partial: Partial) -> None:
    """Raise Refused for what is plainly no data: nothing, or the web page that some sites give with status 200."""
    with partial.file.open("rb") as file:
        start = file.read(256).lstrip().lower()
    is_page = start.startswith(WEB_PAGE) and partial.place.suffix not in {".html", ".htm"}
    if partial.size and not is_page:
        return
    found = "a web page" if is_page else "an empty file"
    partial.discard()
    msg = f"{found} in place of the file"
    raise Refused(msg)


def plainly(error: requests.RequestException) -> str:
    """Say an error of the network without the address, which stands beside it."""
    reason = getattr(error.args[0], "reason", None) if error.args else None
    return f"{type(error).__name__}: {reason or error}"
