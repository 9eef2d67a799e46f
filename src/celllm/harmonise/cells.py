"""`results/cells/{dataset}.h5ad`: cells on the vocabulary's axis, before any normalisation; whole or in pieces.

X: CSR, cells x vocabulary genes, int32 counts (float32 where `uns["units"]` is not `counts`).
obs: index `{dataset}:{barcode}` or `{dataset}:{sample}:{barcode}`, unique; sample, donor, study, label (str; "" where
there is none), is_malignant (int8: 1 tumour, 0 normal, -1 unknown), n_counts, n_genes, cell_hash (of gene and
count, so that equal cells are found across datasets). var: index = symbols; is_named: whether the source has a name for
the gene. uns: dataset, vocabulary (digest), units (celllm.config.units), simulated, provenance (JSON).
Any AnnData release from 0.8 on reads the file.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import h5py
import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse

from celllm.base.atomic import require_room, writing
from celllm.base.errors import InputError, VocabularyMismatch
from celllm.config.units import Units
from celllm.harmonise.vocabulary import Vocabulary
from celllm.sources.values import check_values, dtype_of

if TYPE_CHECKING:
    import anndata as ad

CATEGORICAL = ("sample", "donor", "study", "label")
NUMERIC: Final = {"is_malignant": np.int8, "n_counts": np.float64, "n_genes": np.int64}
OBS_COLUMNS = (*CATEGORICAL, *NUMERIC, "cell_hash")
UNS_KEYS = ("dataset", "vocabulary", "units", "simulated", "provenance")
REMEDY = "rebuild it: snakemake --forcerun align_cells"
X_CHUNK, PIECE = 1 << 16, 2048
"""Numbers of X, and cells, that are read at once: chunks of the file."""


def build(
    matrix: sparse.csr_matrix,
    obs: pd.DataFrame,
    *,
    vocabulary: Vocabulary,
    dataset: str,
    units: Units | str,
    simulated: bool,
    provenance: Mapping[str, Any],
) -> ad.AnnData:
    """Put aligned cells into the form of the file; parameters as of `CellsWriter.append`, `writing_cells`."""
    import anndata as ad

    ordered = sparse.csr_matrix(matrix, dtype=dtype_of(units))
    ordered.sort_indices()
    return ad.AnnData(
        X=ordered,
        obs=obs[list(OBS_COLUMNS)].astype({"is_malignant": np.int8}),
        var=pd.DataFrame({"is_named": True}, index=pd.Index(vocabulary.symbols, name="symbol")),
        uns={
            "dataset": dataset,
            "vocabulary": vocabulary.digest,
            "units": str(units),
            "simulated": simulated,
            "provenance": json.dumps(provenance, sort_keys=True),
        },
    )


@dataclass(frozen=True)
class AlignedCells:
    """Matrix, `obs` and `uns` by the names of AnnData, whose import takes longer than many methods take to fit."""

    X: sparse.csr_matrix
    obs: pd.DataFrame
    uns: Mapping[str, Any]

    def __getitem__(self, rows: npt.NDArray[np.intp]) -> AlignedCells:
        return AlignedCells(self.X[rows], self.obs.iloc[rows], self.uns)


def read(path: Path | str, *, vocabulary: Vocabulary | None = None) -> AlignedCells:
    """Read and check aligned cells; columns of text come back as str.

    InputError if something of the format is missing, or X holds what its units cannot; VocabularyMismatch if the cells
    were aligned to another vocabulary than the one given.
    """
    with h5py.File(path) as file:
        _check_present("obs columns", OBS_COLUMNS, list(file["obs"]), path)
        uns = _uns(file, path, None if vocabulary is None else vocabulary.digest)
        parts = tuple(file["X"][name][:] for name in ("data", "indices", "indptr"))
        matrix = sparse.csr_matrix(parts, shape=tuple(file["X"].attrs["shape"]))
    cells = AlignedCells(matrix, pd.concat(obs_pieces(path)), uns)
    _check(cells, path)
    return cells


def header(path: Path | str, *, vocabulary: str | None = None) -> dict[str, Any]:
    """Read what stands in `uns` of aligned cells, and n_cells and n_genes beside it; no cell is read.

    Errors as of `read`; `vocabulary` is the digest expected.
    """
    with h5py.File(path) as file:
        uns = _uns(file, path, vocabulary)
        n_cells, n_genes = map(int, file["X"].attrs["shape"])
        return uns | {"n_cells": n_cells, "n_genes": n_genes}


def _uns(file: h5py.File, path: Path | str, vocabulary: str | None) -> dict[str, Any]:
    """Return `uns`; VocabularyMismatch unless its digest is the expected one, or none is expected."""
    stored = {key: value[()] for key, value in file.get("uns", {}).items()}
    _check_present("uns", UNS_KEYS, list(stored), path)
    uns = {key: value.decode() if isinstance(value, bytes) else value for key, value in stored.items()}
    if vocabulary not in (None, found := str(uns["vocabulary"])):
        raise VocabularyMismatch(file=path, found=found, expected=str(vocabulary), remedy=REMEDY)
    return uns | {"simulated": bool(uns["simulated"])}


def obs_pieces(path: Path | str, *, size: int = PIECE) -> Iterator[pd.DataFrame]:
    """Read what is known of aligned cells, `size` at a time, indexed by cell id; no count is read."""
    with h5py.File(path, "r") as file:
        stored = file["obs"]
        index = stored[stored.attrs["_index"]]
        for start in range(0, len(index), size):
            rows = slice(start, start + size)
            columns = {name: _values(stored[name], rows) for name in OBS_COLUMNS}
            yield pd.DataFrame(columns, index=pd.Index(index.asstr()[rows], dtype=object))


def pieces(path: Path | str, *, size: int = PIECE) -> Iterator[tuple[sparse.csr_matrix, pd.DataFrame]]:
    """Read aligned cells, `size` at a time: the matrix, and `obs` indexed by cell id."""
    start = 0
    with h5py.File(path, "r") as file:
        stored = file["X"]
        for obs in obs_pieces(path, size=size):
            indptr = stored["indptr"][start : start + len(obs) + 1]
            run = slice(indptr[0], indptr[-1])
            parts = stored["data"][run], stored["indices"][run], indptr - indptr[0]
            yield sparse.csr_matrix(parts, shape=(len(obs), stored.attrs["shape"][1])), obs
            start += len(obs)


def _values(column: h5py.Group | h5py.Dataset, rows: slice) -> npt.NDArray[Any]:
    if isinstance(column, h5py.Group):
        return np.asarray(column["categories"].asstr()[:][column["codes"][rows]])
    return np.asarray(column[rows] if h5py.check_string_dtype(column.dtype) is None else column.asstr()[rows])


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

    Counts become int32, all others float32; `provenance` is what celllm.base.provenance.stamp says.
    """
    no_obs = pd.DataFrame(columns=list(OBS_COLUMNS), index=pd.Index([], dtype=object))
    no_cells = build(
        sparse.csr_matrix((0, vocabulary.n_genes)),
        no_obs.astype(dict.fromkeys(CATEGORICAL, "category")).astype(NUMERIC),
        vocabulary=vocabulary,
        dataset=dataset,
        units=units,
        simulated=simulated,
        provenance=provenance,
    )
    with writing(path) as part, h5py.File(part, "w") as file:
        writer = CellsWriter(file, no_cells, Path(path))
        yield writer
        writer.finish()


class CellsWriter:
    """Appends aligned cells to an open file; `writing_cells` makes one. Memory holds a piece and 8 bytes a cell."""

    def __init__(self, file: h5py.File, no_cells: ad.AnnData, path: Path) -> None:
        import anndata as ad

        self._file, self._path, self._units = file, path, Units(no_cells.uns["units"])
        self._codes: dict[str, dict[str, int]] = {column: {} for column in CATEGORICAL}
        self._name_hashes: list[npt.NDArray[np.uint64]] = []
        self.is_named = np.ones(no_cells.n_vars, dtype=bool)
        """Which genes the source has a name for; to be set before the end."""
        ad.io.write_elem(file, "/", no_cells)
        del file["raw"]  # of a kind that older releases of AnnData do not know
        self._obs = file["obs"]
        growing = {"X/data": no_cells.X.dtype, "X/indices": np.int32, "X/indptr": np.int64}
        growing |= dict.fromkeys(("obs/_index", "obs/cell_hash"), h5py.string_dtype())
        growing |= {f"obs/{column}": dtype for column, dtype in NUMERIC.items()}
        for column in CATEGORICAL:
            growing |= {f"obs/{column}/codes": np.int32, f"obs/{column}/categories": h5py.string_dtype()}
        for name, dtype in growing.items():
            _make_growable(file, name, dtype)
        _extend(file["X/indptr"], np.zeros(1, dtype=np.int64))
        self._matrix = ad.io.sparse_dataset(file["X"])

    def append(self, matrix: sparse.csr_matrix, obs: pd.DataFrame) -> None:
        """Add cells: `matrix` cells x vocabulary genes, `obs` with the columns of the format, indexed by cell id."""
        ordered = sparse.csr_matrix(matrix)
        ordered.sort_indices()
        check_values(ordered.data, self._units, file=self._path, field="X", is_source=False)
        require_room(self._path, ordered.data.nbytes + ordered.indices.nbytes)
        self._matrix.append(ordered.astype(dtype_of(self._units)))
        names = obs.index.to_numpy(dtype=object)
        _extend(self._obs["_index"], names)
        _extend(self._obs["cell_hash"], obs["cell_hash"].to_numpy(dtype=object))
        for column, dtype in NUMERIC.items():
            _extend(self._obs[column], obs[column].to_numpy(dtype=dtype))
        for column, known in self._codes.items():
            codes = [known.setdefault(str(value), len(known)) for value in obs[column]]
            _extend(self._obs[column]["codes"], np.array(codes, dtype=np.int32))
        self._name_hashes.append(pd.util.hash_array(names, categorize=False))

    def finish(self) -> None:
        """Refuse repeated cell ids, then write what is known only now."""
        self._check_names()
        for column, known in self._codes.items():
            _extend(self._obs[column]["categories"], np.array(list(known), dtype=object))
        self._file["var/is_named"][:] = self.is_named

    def _check_names(self) -> None:
        """Refuse a repeated cell id; ids of equal hash are read from the file to be compared."""
        hashes = np.concatenate([np.empty(0, dtype=np.uint64), *self._name_hashes])
        order = np.argsort(hashes, kind="stable")
        for place in np.flatnonzero(hashes[order][1:] == hashes[order][:-1]):
            first, second = (str(self._obs["_index"].asstr()[row]) for row in order[place : place + 2])
            if first == second:
                expected, found = "each name once within a sample", f"{first} more than once"
                remedy = "put the sample before the names, or give each sample a file of its own"
                raise InputError(file=self._path, field="cell names", expected=expected, found=found, remedy=remedy)


def _make_growable(file: h5py.File, name: str, dtype: npt.DTypeLike) -> None:
    """Put an array that `_extend` appends to in place of one of fixed size."""
    encoding = dict(file[name].attrs)
    del file[name]
    chunks = (X_CHUNK if name.startswith("X/") else PIECE,)
    packed: dict[str, Any] = {"compression": "lzf", "shuffle": True}
    if np.dtype(dtype).kind == "i":
        # HDF5's own packing of whole numbers into the bits a chunk needs: lossless, and faster than LZF.
        packed = {"scaleoffset": 0}
    made = file.create_dataset(name, shape=(0,), maxshape=(None,), dtype=dtype, chunks=chunks, **packed)
    made.attrs.update(encoding)


def _extend(stored: h5py.Dataset, values: npt.NDArray[Any]) -> None:
    stored.resize((len(stored) + len(values),))
    stored[len(stored) - len(values) :] = values


def _check_present(field: str, expected: tuple[str, ...], present: list[str], path: Path | str) -> None:
    if missing := [name for name in expected if name not in present]:
        found = f"no {', '.join(missing)} among {', '.join(map(str, present)) or 'none'}"
        raise _refused(path, field, ", ".join(expected), found)


def _check(cells: AlignedCells, path: Path | str) -> None:
    """Raise InputError, naming `path`, unless the cells follow the format."""
    repeated = cells.obs.index[cells.obs.index.duplicated()]
    strange = sorted(set(cells.obs["is_malignant"]) - {-1, 0, 1})
    units = cells.uns["units"]
    if len(repeated):
        raise _refused(path, "obs index", "each cell id once", f"{repeated[0]} more than once")
    if strange:
        raise _refused(path, "is_malignant", "1 tumour, 0 normal or -1 unknown", str(strange[0]))
    if units not in list(Units):
        raise _refused(path, "uns units", f"one of {', '.join(Units)}", repr(units))
    check_values(cells.X.data, units, file=path, field="X", is_source=False)


def _refused(path: Path | str, field: str, expected: str, found: str) -> InputError:
    return InputError(file=path, field=field, expected=expected, found=found, remedy=REMEDY)
