"""What is in a file: its format, its matrices with orientation, names and units, and which one holds counts."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Final

import h5py

from celllm.base.errors import InputError
from celllm.sources import look_text
from celllm.sources.archives import members, opened, unreadable
from celllm.sources.look_text import Found, Matrix
from celllm.sources.raw import RawFile, RawManifest
from celllm.sources.readers.cells import RawCells
from celllm.sources.units import evidence

N_PARTS: Final = 40
HDF5: Final = b"\x89HDF\r\n\x1a\n"
R_BEGINS: Final = (b"RDX", b"RDA", b"RDB", b"X\n", b"A\n", b"B\n")
REFUSED: Final = {
    b"\x80": "a Python pickle, which is not opened: it could run code",
    b"\x93NUMPY": "a numpy array without names of genes and cells",
}


def look(path: Path) -> str:
    """Look into a file of any format, and say on one page what is in it."""
    if not path.exists():
        raise unreadable(path, "a file", "no such file", remedy="correct the path")
    if path.is_dir():
        found = _folder(path)
    else:
        with path.open("rb") as file, opened(path) as stream:
            begin, unpacked = file.read(16), stream.read(512)
        found = _found(path, begin, unpacked)
    size = "" if path.is_dir() else f", {path.stat().st_size:,} bytes"
    return _page(path, size, found)


def _found(path: Path, begin: bytes, unpacked: bytes) -> Found:
    refused = next((what for magic, what in REFUSED.items() if unpacked.startswith(magic)), None)
    if refused is not None:
        raise unreadable(path, "a file of cells, a table or R objects", refused)
    if unpacked.startswith(HDF5):
        if not begin.startswith(HDF5):
            found = "a compressed one: unpack it first, and drop .gz from its name"
            raise unreadable(path, "an HDF5 file as it is", found)
        return _hdf5(path)
    if unpacked.startswith(R_BEGINS):
        return _r(path)
    if begin.startswith(b"PK") and _is_workbook(path):
        return _workbook(path)
    if begin.startswith(b"PAR1"):
        return _parquet(path)
    if begin.startswith(b"PK") or unpacked[257:262] == b"ustar":
        return _archive(path)
    return look_text.table(path)


def _raw(path: Path) -> RawFile:
    return RawFile(path.name, path, path.stat().st_size, "")


def of_cells(where: str, first: RawCells, n_cells: int | None = None) -> Matrix:
    """Look at the first piece of cells that a reader gives, of so many in the file."""
    n_read = first.matrix.shape[0]
    seen = "" if n_cells in {None, n_read} else f"of the first {n_read:,} cells"
    n_genes, cells = len(first.names), list(first.obs.index)
    return Matrix(where, n_genes, n_cells or n_read, "genes", first.names, cells, evidence(first.matrix), seen)


def _hdf5(path: Path) -> Found:
    from celllm.sources.readers.h5ad import opening

    with opening(path, "a whole HDF5 file") as file:
        top = set(file)
        groups = [name for name in file if isinstance(file[name], h5py.Group) and "indptr" in file[name]]
        if {"obs", "var"} <= top:
            return _h5ad(path, file)
        if {"matrix", "row_attrs", "col_attrs"} <= top:
            return _loom(path, file)
        if groups and all("barcodes" in file[name] for name in groups):
            return _tenx_h5(path, file, groups)
        if "mod" in top:
            parts, remark = [(f"mod/{name}", "AnnData") for name in file["mod"]], "mdata['rna'].write_h5ad"
            return Found("MuData (h5mu): one AnnData a modality", parts, remarks=[f"write the RNA as h5ad: {remark}"])
        if {"assays", "meta.data"} <= top:
            parts = [(f"assays/{name}", "assay") for name in file["assays"]]
            return Found("h5Seurat", parts, remarks=["save it by saveRDS"])
        kinds = {
            name: "group" if isinstance(one, h5py.Group) else f"{one.shape} {one.dtype}" for name, one in file.items()
        }
        return Found("HDF5 of a layout that no reader knows", list(kinds.items()))


def _h5ad(path: Path, file: h5py.File) -> Found:
    from celllm.sources.readers.h5ad import matrices, read_one

    found = Found("AnnData (h5ad)", reader="h5ad")
    index = file["obs"].attrs.get("_index", "_index") if isinstance(file["obs"], h5py.Group) else None
    stored = file["obs"] if index is None else file["obs"][index]
    n_cells = stored["values"].shape[0] if isinstance(stored, h5py.Group) else stored.shape[0]
    for where in matrices(file, path):
        try:
            piece = next(read_one(_raw(path), matrix=where))
            found.matrices.append(of_cells(where, piece, n_cells))
            found.parts = found.parts or look_text.columns(piece.obs, "obs:")
            if look_text.rows_are(list(piece.obs.index), piece.names) == "genes":
                found.remarks.append(f"{where} has genes in obs: transpose it, adata.T")
        except InputError as error:
            found.remarks.append(f"{where} cannot be read: expected {error.expected}; found {error.found}")
    return found


def _loom(path: Path, file: h5py.File) -> Found:
    from celllm.sources.readers.loom import read_one

    found = Found("Loom", [(f"layers/{name}", "layer") for name in file.get("layers", ())], reader="loom")
    first = next(read_one(_raw(path)))
    found.matrices.append(of_cells("matrix", first, file["matrix"].shape[1]))
    found.parts += look_text.columns(first.obs, "col_attrs:")
    return found


def _tenx_h5(path: Path, file: h5py.File, groups: Sequence[str]) -> Found:
    from celllm.sources.readers.tenx import read_h5

    found = Found("Cell Ranger's HDF5 matrix", [(name, "a genome, or matrix") for name in groups], reader="tenx_h5")
    if len(groups) == 1:
        first = next(read_h5(_raw(path)))
        found.matrices.append(of_cells(groups[0], first, int(file[groups[0]]["shape"][1])))
        found.remarks += [f"{n:,} features are {kind} and are left out" for kind, n in first.left_out.items()]
    return found


def _r(path: Path) -> Found:
    from celllm.sources import robjects
    from celllm.sources.readers.robjects import LAYOUTS, counts_of, matrix_of
    from celllm.sources.rvalues import extent, matrices, walk

    root = robjects.load(path)
    kind = "R objects (save)" if root.path == "" else "an R object (saveRDS)"
    found = Found(kind, reader="robjects")
    for one in robjects.roots(root):
        found.parts.append((one.path, ", ".join(one.classes)))
        found.parts += [(part.path, f"{part.classes[0]}, {extent(part)}".rstrip(", ")) for part in walk(one, deepest=5)]
        if one.classes[0] in LAYOUTS:
            try:
                found.remarks.append(f"{one.path} stands for {counts_of(one).path}")
            except InputError as error:
                found.remarks.append(f"{one.path}: {error.found}")
    for part in islice(matrices(root), 12):
        try:
            values, genes, cells = matrix_of(part)
        except InputError as error:
            found.remarks.append(f"{part.path}: {error.found}")
            continue
        where = part.path
        rows = look_text.rows_are(genes, cells)
        if rows == "cells":
            values, genes, cells, where = values.T.tocsr(), cells, genes, f"t({part.path})"
        n_cells, n_genes = values.shape
        found.matrices.append(Matrix(where, n_genes, n_cells, rows, genes, cells, evidence(values[:2048]), ""))
    # embeddings and loadings are no cells x genes
    found.matrices = [one for one in found.matrices if one.rows != "unknown"] or found.matrices
    return found


def _parquet(path: Path) -> Found:
    from celllm.base.parquet import read_frame

    table = read_frame(path)
    found = Found("a parquet table", look_text.columns(table.iloc[:, :N_PARTS], ""))
    numeric = table.select_dtypes("number")
    if numeric.shape[1] > 20:
        found.matrices.append(look_text.of_frame("(whole table)", numeric))
    return found


def _is_workbook(path: Path) -> bool:
    with zipfile.ZipFile(path) as archive:
        return "xl/workbook.xml" in archive.namelist()


def _workbook(path: Path) -> Found:
    import pandas as pd

    parts = [(str(name), "sheet") for name in pd.ExcelFile(path, engine="openpyxl").sheet_names]
    return Found("an Excel workbook", parts, remarks=["spreadsheets turn symbols into dates; save cells as text"])


def _archive(path: Path) -> Found:
    from celllm.sources.readers.tenx import PART, read_tenx_mtx

    parts: list[tuple[str, str]] = []
    folders: set[str] = set()
    for name, stream in members(path):
        said = PART.match(name)
        if said is not None:
            folders.add(said[1])
        parts.append((name, said[2] if said else look_text.line_of(stream.read(400))))
    found = Found("an archive", parts, reader="tenx_mtx" if folders else None)
    if len(folders) == 1:
        (first, *_) = read_tenx_mtx(RawManifest(path.name, (_raw(path),), path), None)  # type: ignore[arg-type] # no row needed
        found.matrices.append(of_cells("matrix.mtx", first))
    elif folders:
        found.remarks.append(f"{len(folders)} matrices: a pattern in the column part of files.tsv names the samples")
    return found


def _folder(path: Path) -> Found:
    sizes = {one.name: "folder" if one.is_dir() else f"{one.stat().st_size:,} bytes" for one in sorted(path.iterdir())}
    is_zarr = (path / ".zgroup").exists() or (path / "zarr.json").exists()
    kind = "a zarr store, which no reader knows: write it as h5ad" if is_zarr else "a folder"
    return Found(kind, list(sizes.items()), remarks=["each file is a row of files.tsv of its own"])


def _page(path: Path, size: str, found: Found) -> str:
    lines = [f"{path.name}: {found.format}{size}"]
    if found.parts:
        width = max(len(name) for name, _ in found.parts[:N_PARTS])
        lines += [f"  {name.ljust(width)}  {what}".rstrip() for name, what in found.parts[:N_PARTS]]
        if len(found.parts) > N_PARTS:
            lines.append(f"  … and {len(found.parts) - N_PARTS} more")
    for matrix in found.matrices:
        lines += matrix.lines()
    lines += [f"note: {remark}" for remark in found.remarks]
    counts = [matrix.where for matrix in found.matrices if matrix.evidence.is_counts]
    if found.matrices:
        lines.append(f"counts: {', '.join(counts) or 'in no matrix of this file'}")
    if found.reader is not None:
        lines.append(f"datasets.tsv: reader {found.reader}{_columns(found, counts)}")
    return "\n".join(lines) + "\n"


def _columns(found: Found, counts: Sequence[str]) -> str:
    """Say which columns name the matrix with counts, or else the first one's units."""
    if not found.matrices:
        return ""
    one = next((matrix for matrix in found.matrices if matrix.where in counts), found.matrices[0])
    said = f", units {'counts' if counts else '?'}"
    if found.reader == "h5ad" and one.where != "X":
        said += f", matrix {one.where}"
    return said + (f"; files.tsv: part {one.where}" if found.reader == "robjects" else "")
