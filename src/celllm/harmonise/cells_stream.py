"""`results/cells/{dataset}.h5ad` written and read a piece at a time, so that memory does not grow with the cells.

The form is that of harmonise/cells.py; any AnnData release from 0.8 on reads the file.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import anndata as ad
import h5py
import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse

from celllm.base.atomic import writing
from celllm.base.errors import InputError
from celllm.config.units import Units
from celllm.harmonise.cells import CATEGORICAL, OBS_COLUMNS, REMEDY, UNS_KEYS, check_vocabulary
from celllm.harmonise.vocabulary import Vocabulary
from celllm.sources.raw import RawFile
from celllm.sources.readers.cells import PIECE
from celllm.sources.readers.h5ad import Obs, read_one, reading
from celllm.sources.values import check_values, dtype_of

_CHUNK: Final = 1 << 16
"""Numbers in a chunk of the file."""
_PACKED: Final[dict[str, Any]] = {"scaleoffset": 0}
"""HDF5's own packing of whole numbers into the bits a chunk needs: lossless, and faster than LZF."""
_COMPRESSED: Final[dict[str, Any]] = {"compression": "lzf", "shuffle": True}
_NUMERIC: Final = {"is_malignant": np.int8, "n_counts": np.float64, "n_genes": np.int64}


@contextmanager
def writing_cells(
    path: Path | str,
    *,
    vocabulary: Vocabulary,
    dataset: str,
    units: Units | str,
    simulated: bool,
    provenance: Mapping[str, Any],
) -> Iterator[CellsWriter]:
    """Yield what aligned cells are appended to; the file takes its name when all are in it, on any failure none does.

    Parameters
    ----------
    path
        Where the file is to stand.
    vocabulary
        The genes of the columns.
    dataset
        Name of the dataset.
    units
        What the numbers are: counts become int32, all others float32.
    simulated
        Whether they come from the simulator.
    provenance
        What made them, as celllm.base.provenance.stamp says it.
    """
    uns = {
        "dataset": dataset,
        "vocabulary": vocabulary.digest,
        "units": str(units),
        "simulated": simulated,
        "provenance": json.dumps(provenance, sort_keys=True),
    }
    with writing(path) as part, h5py.File(part, "w") as file:
        writer = CellsWriter(file, Path(path), units=Units(units))
        yield writer
        writer.finish(vocabulary, uns)


class CellsWriter:
    """Appends aligned cells to an open file; `writing_cells` makes one."""

    def __init__(self, file: h5py.File, path: Path, *, units: Units) -> None:
        self._file = file
        self._path = path
        self._units = units
        self._dtype = dtype_of(units)
        self._codes: dict[str, dict[str, int]] = {column: {} for column in CATEGORICAL}
        self._names: list[npt.NDArray[np.uint64]] = []
        self.n_cells = 0
        self.is_named: npt.NDArray[np.bool_] | None = None
        """Which genes the source has a name for; to be set before the end, else all are taken to be named."""
        for name, dtype in (("data", self._dtype), ("indices", np.int32), ("indptr", np.int64)):
            self._grow(f"X/{name}", np.zeros(1 if name == "indptr" else 0, dtype=dtype))
        for column, number in _NUMERIC.items():
            self._grow(f"obs/{column}", np.empty(0, dtype=number))
        for column in ("_index", "cell_hash"):
            self._grow(f"obs/{column}", np.empty(0, dtype=object))
        for column in CATEGORICAL:
            self._grow(f"obs/{column}/codes", np.empty(0, dtype=np.int32))

    def append(self, matrix: sparse.csr_matrix, obs: pd.DataFrame) -> None:
        """Add cells: `matrix` cells x vocabulary genes, `obs` with the columns of the format, indexed by cell id."""
        ordered = sparse.csr_matrix(matrix)
        ordered.sort_indices()
        check_values(ordered.data, self._units, file=self._path, field="X", is_source=False)
        n_before = self._file["X/data"].shape[0]
        self._grow("X/data", ordered.data.astype(self._dtype))
        self._grow("X/indices", ordered.indices.astype(np.int32))
        self._grow("X/indptr", ordered.indptr[1:].astype(np.int64) + n_before)
        for column, dtype in _NUMERIC.items():
            self._grow(f"obs/{column}", obs[column].to_numpy(dtype=dtype))
        self._grow("obs/_index", obs.index.to_numpy(dtype=object))
        self._grow("obs/cell_hash", obs["cell_hash"].to_numpy(dtype=object))
        for column, known in self._codes.items():
            codes = [known.setdefault(str(value), len(known)) for value in obs[column]]
            self._grow(f"obs/{column}/codes", np.array(codes, dtype=np.int32))
        self._names.append(pd.util.hash_array(obs.index.to_numpy(dtype=object), categorize=False))
        self.n_cells += len(obs)

    def finish(self, vocabulary: Vocabulary, uns: Mapping[str, Any]) -> None:
        """Refuse repeated cell ids, then write what makes the file an AnnData file."""
        self._check_names()
        file, matrix, obs = self._file, self._file["X"], self._file["obs"]
        file.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
        matrix.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0"})
        matrix.attrs["shape"] = np.array([self.n_cells, vocabulary.n_genes], dtype=np.int64)
        obs.attrs.update({"encoding-type": "dataframe", "encoding-version": "0.2.0", "_index": "_index"})
        obs.attrs.create("column-order", list(OBS_COLUMNS), dtype=h5py.string_dtype())
        for column, known in self._codes.items():
            group = obs[column]
            group.attrs.update({"encoding-type": "categorical", "encoding-version": "0.2.0", "ordered": False})
            _described(group["codes"], "array")
            ad.io.write_elem(group, "categories", np.array(list(known), dtype=object))
        for column in _NUMERIC:
            _described(obs[column], "array")
        for column in ("_index", "cell_hash"):
            _described(obs[column], "string-array")
        is_named = np.ones(vocabulary.n_genes, dtype=bool) if self.is_named is None else self.is_named
        ad.io.write_elem(file, "var", pd.DataFrame({"is_named": is_named}, pd.Index(vocabulary.symbols, name="symbol")))
        ad.io.write_elem(file, "uns", dict(uns))
        for name in ("obsm", "varm", "obsp", "varp", "layers"):
            ad.io.write_elem(file, name, {})

    def _check_names(self) -> None:
        """Refuse a repeated cell id. 8 bytes a cell are kept to find one; equal ones are then read from the file."""
        hashes = np.concatenate(self._names) if self._names else np.empty(0, dtype=np.uint64)
        order = np.argsort(hashes, kind="stable")
        pairs = np.flatnonzero(hashes[order][1:] == hashes[order][:-1])
        for place in pairs:
            first, second = (str(self._file["obs/_index"].asstr()[row]) for row in order[place : place + 2])
            if first == second:
                raise InputError(
                    file=self._path,
                    field="cell names",
                    expected="each name once within a sample",
                    found=f"{first} more than once",
                    remedy="put the sample before the names, or give each sample a file of its own",
                )

    def _grow(self, name: str, values: npt.NDArray[Any]) -> None:
        """Append to a one-dimensional array of the file; make it if it is not there yet."""
        if name not in self._file:
            is_text = values.dtype == object
            dtype = h5py.string_dtype() if is_text else values.dtype
            chunk = 2048 if name.startswith("obs") else _CHUNK
            packed = _PACKED if values.dtype.kind == "i" else _COMPRESSED
            self._file.create_dataset(name, shape=(0,), maxshape=(None,), dtype=dtype, chunks=(chunk,), **packed)
        stored = self._file[name]
        start = stored.shape[0]
        stored.resize((start + len(values),))
        if len(values):
            stored[start:] = values


def _described(stored: h5py.Dataset, encoding: str) -> None:
    stored.attrs.update({"encoding-type": encoding, "encoding-version": "0.2.0"})


def header(path: Path | str, *, vocabulary: str | None = None) -> dict[str, Any]:
    """Read what stands in `uns` of aligned cells, and n_cells and n_genes beside it; cells are not read.

    Raises
    ------
    InputError
        If something of it is missing.
    VocabularyMismatch
        If the cells were aligned to another vocabulary than the one of the digest given.
    """
    with h5py.File(path, "r") as file:
        uns = {key: ad.io.read_elem(file["uns"][key]) for key in file.get("uns", ())}
        missing = [key for key in UNS_KEYS if key not in uns]
        if missing:
            raise InputError(
                file=path,
                field="uns",
                expected=", ".join(UNS_KEYS),
                found=f"no {', '.join(missing)} among {', '.join(uns) or 'none'}",
                remedy=REMEDY,
            )
        check_vocabulary(str(uns["vocabulary"]), vocabulary, path)
        return uns | {"n_cells": len(file["X/indptr"]) - 1, "n_genes": int(file["X"].attrs["shape"][1])}


def named_genes(path: Path | str, *, vocabulary: str | None = None) -> npt.NDArray[np.bool_]:
    """Tell for each gene whether the source had a name for it; errors as in `header`."""
    header(path, vocabulary=vocabulary)
    with reading(Path(path)) as source:
        return np.asarray(ad.io.read_elem(source["var"])["is_named"], dtype=bool)


def obs_pieces(path: Path | str, *, size: int = PIECE) -> Iterator[pd.DataFrame]:
    """Read what is known of aligned cells, `size` at a time, indexed by cell id; no count is read."""
    with reading(Path(path)) as source:
        obs = Obs(source["obs"], Path(path))
        for start in range(0, obs.n_cells, size):
            yield obs.between(start, min(start + size, obs.n_cells))


def pieces(path: Path | str, *, size: int = PIECE) -> Iterator[tuple[sparse.csr_matrix, pd.DataFrame]]:
    """Read aligned cells, `size` at a time: the matrix, and `obs` indexed by cell id."""
    path = Path(path)
    file = RawFile(name=path.name, path=path, bytes=path.stat().st_size, sha256="")
    for cells in read_one(file, piece=size):
        yield cells.matrix, cells.obs
