"""A real server on loopback whose paths misbehave as real servers do."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from celllm.config import tables
from celllm.sources import download, raw
from celllm.sources.readers.registry import read_raw

CONTENT = np.random.default_rng(5).bytes(300_000)
QUICK = {"ATTEMPTS": 4, "FIRST_WAIT_S": 0.001, "MAX_WAIT_S": 0.01, "READ_S": 1.0}  # a busy machine answers late


class Handler(BaseHTTPRequestHandler):
    """Hands each request to the path's behaviour."""

    protocol_version = "HTTP/1.1"
    served: Served

    def do_GET(self):
        path = self.path.partition("?")[0]
        with self.served.guard:
            self.served.requests.append((path, dict(self.headers)))
        try:
            self.served.paths[path](self)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def answer(self, status, body=b"", *, length=None, **headers):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)
        if length is not None and length != len(body):
            self.hang_up()

    def hang_up(self):
        self.wfile.flush()
        self.close_connection = True

    def file(self, body=CONTENT, *, etag='"1"', cut=None, ranges=True, **headers):
        """Serve a file as a good server does, but hang up after `cut` bytes of it."""
        start = 0
        span = self.headers.get("Range") if ranges else None
        if span is not None and self.headers.get("If-Range") == etag:
            start = int(span.removeprefix("bytes=").removesuffix("-"))
            if start >= len(body):
                self.answer(416, Content_Range=f"bytes */{len(body)}")
                return
            headers["Content_Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
        if etag is not None:
            headers["ETag"] = etag
        rest = body[start:]
        self.answer(206 if start else 200, rest[:cut], length=len(rest), **headers)

    def log_message(self, *_):
        pass


@dataclass
class Served:
    """What the server does, and what it has seen."""

    port: int = 0
    paths: dict[str, Callable[[Handler], None]] = field(default_factory=dict)
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    guard: threading.Lock = field(default_factory=threading.Lock)

    def at(self, path: str, *behaviours: Callable[[Handler], None]) -> str:
        """Behave so at a path, one after the other, the last one for ever; returns the address."""
        left = list(behaviours)

        def behave(handler):
            with self.guard:
                behaviour = left.pop(0) if len(left) > 1 else left[0]
            behaviour(handler)

        self.paths[path] = behave
        return f"http://127.0.0.1:{self.port}{path}"

    def ranges(self) -> list[str | None]:
        return [headers.get("Range") for _, headers in self.requests]


@pytest.fixture
def server(monkeypatch) -> Iterator[Served]:
    """The server, of which little patience is had; proxies of the environment are not asked."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for name, value in QUICK.items():
        monkeypatch.setattr(download, name, value)
    served = Served()
    handler = type("Bound", (Handler,), {"served": served})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        http.daemon_threads = True
        served.port = http.server_port
        threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield served
        http.shutdown()


@pytest.fixture(scope="session")
def rows(root):
    """The checkout's table of datasets."""
    return tables.read_datasets(root / "config/datasets.tsv")


@pytest.fixture
def manifest_of(tmp_path):
    """Make a manifest of files, each with its sample, all with the same facts, the last one with `part` and `use`."""

    def manifest_of(*paths, samples=None, part=None, use="cells", **facts):
        samples = samples or [None] * len(paths)
        files = [raw.describe(path, sample=sample, facts=facts) for path, sample in zip(paths, samples, strict=True)]
        files[-1] = replace(files[-1], part=part, use=use)
        raw.write("d", files, tmp_path / "manifest.json")
        return raw.read(tmp_path / "manifest.json")

    return manifest_of


@pytest.fixture
def read(manifest_of):
    """Read files as cells of a dataset; AnnData files as those that a mirror holds built."""

    def read(row, *paths, **options):
        if row.built and all(Path(path).suffix == ".h5ad" for path in paths):
            row = replace(row, reader="h5ad", obs={}, keep={}, recover=None)
        return list(read_raw(manifest_of(*paths, **options), row))

    return read
