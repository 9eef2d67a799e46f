"""R's files as the package rdata parses them, from a stream: gzip, bzip2, xz or none; XDR, ASCII or binary."""

from __future__ import annotations

import os
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from celllm.base.errors import InputError
from celllm.sources.archives import BROKEN, opened, unreadable

if TYPE_CHECKING:
    from rdata.parser import RObject

UNREADABLE: Final = (
    *(ValueError, LookupError, NotImplementedError, AssertionError, UserWarning),
    *(AttributeError, TypeError, RecursionError, MemoryError),
)
"""What the package rdata raises for bytes that are not R's."""
EXPECTED: Final = "R objects, as save() or saveRDS() writes them"
WORKSPACE: Final = re.compile(rb"RD([XAB])[23]\n")
"""How a file of `save` begins; that of `saveRDS` begins with what stands in it behind: X, A or B and a new line."""
TIMES: Final = 3
"""Memory that reading takes, in multiples of what a file unpacks to; 1.9 were seen (10 million numbers, sparse)."""
DEPTH: Final = 20_000
"""Calls within calls while a file is parsed: R's lists of pairs are nested as deep as they are long."""


def parse(path: Path) -> tuple[RObject, bool]:
    """Read an R file, compressed or not, and return its object, and whether it is the list of objects of `save`.

    What is held at a time is the parsed objects, not the unpacked file beside them. InputError before a file takes more
    memory than this machine has.
    """
    # few environments hold it
    import rdata

    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with opened(path, limit=memory // TIMES) as stream, _parsing(path):
        begin = stream.read(2)
        is_workspace = begin == b"RD"
        if is_workspace:
            begin += stream.read(3)
            found = WORKSPACE.fullmatch(begin)
            if found is None:
                raise unreadable(path, EXPECTED, f"a file that begins with {begin!r}")
            begin = stream.read(2)
        if begin == b"X\n":
            node = _streamed(stream).parse_all().object
        elif begin in {b"A\n", b"B\n", b"A\r"}:
            node = rdata.parser.parse_data(begin + stream.read(), extension=".rds").object
        else:
            raise unreadable(path, EXPECTED, f"a file that begins with {begin!r}")
    return node, is_workspace


@contextmanager
def _parsing(path: Path) -> Iterator[None]:
    depth = sys.getrecursionlimit()
    sys.setrecursionlimit(max(depth, DEPTH))
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Tag not implemented", category=UserWarning)
            yield
    except InputError:
        raise
    except (*BROKEN, *UNREADABLE) as error:
        raise unreadable(path, EXPECTED, error) from None
    finally:
        sys.setrecursionlimit(depth)


def _streamed(stream: IO[bytes]) -> Any:  # noqa: ANN401 - a parser of rdata
    """Make a parser that reads from a stream; rdata's own holds the unpacked file twice over."""
    from rdata.parser._parser import DEFAULT_ALTREP_MAP
    from rdata.parser._xdr import ParserXDR

    class Streamed(ParserXDR):  # type: ignore[misc]
        def _parse_array_values(self, dtype: npt.DTypeLike, length: int) -> npt.NDArray[Any]:
            kind = np.dtype(dtype)
            return np.frombuffer(self.parse_string(length * kind.itemsize), kind.newbyteorder(">")).astype(kind)

        def parse_string(self, length: int) -> bytes:
            if length < 0:
                msg = "a vector of more than 2^31 values"
                raise NotImplementedError(msg)
            data = self.file.read(length)
            if len(data) != length:
                msg = "the file breaks off"
                raise EOFError(msg)
            return bytes(data)

    parser = Streamed(memoryview(b""), expand_altrep=True, altrep_constructor_dict=DEFAULT_ALTREP_MAP)
    parser.file = stream
    return parser
