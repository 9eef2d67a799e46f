"""PanglaoDB's downloads: R data with a sparse matrix of genes x cells, one file a sample."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from scipy import sparse

from celllm.base.errors import InputError
from celllm.config.tables import Dataset
from celllm.sources.archives import BROKEN, unreadable
from celllm.sources.raw import RawManifest
from celllm.sources.readers.cells import RawCells, in_pieces
from celllm.sources.readers.text import narrow

UNREADABLE: Final = (ValueError, LookupError, NotImplementedError, AssertionError, UserWarning)
"""What the package rdata raises for bytes that are not R's."""


def read_panglaodb(manifest: RawManifest, _: Dataset) -> Iterator[RawCells]:
    """Read PanglaoDB's files: RData with `sm`, a dgCMatrix of genes x cells, rows `SYMBOL_ENSG….version`.

    Source: panglaodb.se, `{SRA}_{SRS}.sparse.RData`, which R's `save()` wrote, compressed by gzip, bzip2 or xz. Where
    a file holds `sm2` too, `sm` is taken. R's format has no index, so a file is read whole; the largest human sample
    has some 20,000 cells.
    """
    for file in manifest.ending(".RData"):
        matrix, names, barcodes = _sm(file.path)
        cells = RawCells.of(file, narrow(sparse.csr_matrix(matrix.T)), names, barcodes)
        yield from in_pieces(cells)


def _sm(path: Path) -> tuple[sparse.csc_matrix, list[str], list[str]]:
    # few environments hold it
    import rdata

    constructors = {**rdata.conversion.DEFAULT_CLASS_MAP, "dgCMatrix": _dgcmatrix}
    try:
        with warnings.catch_warnings():
            # Objects of other classes are none of ours.
            warnings.filterwarnings("ignore", message="Missing constructor", category=UserWarning)
            # Otherwise a file of any kind is taken for R's and fails somewhere within.
            warnings.filterwarnings("error", message="Unknown file type", category=UserWarning)
            objects = rdata.conversion.convert(rdata.parser.parse_file(path), constructors)
    except (*BROKEN, *UNREADABLE) as error:
        raise unreadable(path, "an RData file", error) from None
    found = objects.get("sm")
    if not isinstance(found, _Sparse):
        kinds = [
            f"{name} ({'dgCMatrix' if isinstance(value, _Sparse) else 'another class'})"
            for name, value in objects.items()
        ]
        raise _other(path, "the sparse matrix sm (dgCMatrix)", f"the objects {', '.join(kinds) or '(none)'}")
    slots = found.slots
    try:
        shape = tuple(int(n) for n in slots["Dim"])
        matrix = sparse.csc_matrix((slots["x"], slots["i"], slots["p"]), shape=shape)
        matrix.check_format()
        rows, columns = ([] if names is None else [str(name) for name in names] for names in slots["Dimnames"])
    except (KeyError, ValueError, TypeError) as error:
        raise unreadable(path, "a dgCMatrix sm with slots x, i, p, Dim, Dimnames", error) from None
    if (len(rows), len(columns)) != shape:
        expected = f"a name for each of {shape[0]} genes and {shape[1]} cells"
        raise _other(path, expected, f"{len(rows)} gene names and {len(columns)} cell names")
    return matrix, rows, columns


def _other(path: Path, expected: str, found: str) -> InputError:
    remedy = "fetch the sample with filetype=R and datatype=readcounts"
    return InputError(file=path, field="sm", expected=expected, found=found, remedy=remedy)


@dataclass(frozen=True)
class _Sparse:
    """Slots of R's compressed-column matrix: x values, i row indices, p column starts, all counted from 0."""

    slots: Mapping[str, Any]


def _dgcmatrix(_: Any, attributes: Mapping[str, Any]) -> _Sparse:  # noqa: ANN401 - what rdata hands over
    return _Sparse(dict(attributes))
