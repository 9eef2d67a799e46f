"""What is made of cells, written beside them: into the object, or into a copy of the file."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import anndata as ad
import h5py
import numpy as np
import pandas as pd

from celllm.annotate.source import Own, Source
from celllm.base.atomic import check_place, writing
from celllm.base.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

Target: TypeAlias = ad.AnnData | h5py.File


def check_out(cells: Own, out: Path | str | None) -> None:
    """Raise InputError if a file would replace its original, or there is one too few or too many."""
    fault: tuple[str, str, str] | None = None
    if isinstance(cells, ad.AnnData):
        if out is not None:
            fault = "none: the object itself is added to", "a file", "write it afterwards: adata.write_h5ad(FILE)"
    elif out is None:
        fault = "a file to write", "none", "name one: out=FILE"
    elif Path(out).exists() and Path(cells).exists() and Path(out).samefile(cells):
        remedy = f"name another one: -o {Path(cells).stem}.celllm.h5ad"
        fault = "another file than the input, which stays as it is", "the input", remedy
    if fault is not None:
        expected, found, remedy = fault
        raise InputError(file=out or str(cells), field="out", expected=expected, found=found, remedy=remedy)
    if out is not None:
        check_place(out)


def check_obs(cells: Source) -> None:
    """Raise InputError for a file of AnnData before 0.7, to whose `obs` no column can be added."""
    if not isinstance(cells.table, pd.DataFrame) and "column-order" not in cells.table.attrs:
        raise InputError(
            file=cells.file,
            field="obs",
            expected="a table of AnnData 0.7 or later, to which columns can be added",
            found="one of an older release",
            remedy="write the input anew: anndata.read_h5ad(FILE).write_h5ad(NEW)",
        )


@contextmanager
def adding(cells: Own, out: Path | str | None) -> Iterator[Target]:
    """Yield what is added to: the object, or a copy of the file; it takes its name when all is in it.

    Whatever the file holds, known to this AnnData or not, is copied as it is; on any failure there is no copy.
    """
    check_out(cells, out)
    if out is None:
        yield cells
        return
    with writing(out) as part:
        shutil.copyfile(cells, part)
        with h5py.File(part, "r+") as file:
            yield file


def put(target: Target, group: str, key: str, value: Mapping[str, Any] | NDArray[Any] | pd.Categorical[Any]) -> None:
    """Write an element of obs, obsm or uns, in place of one of that name."""
    if isinstance(target, ad.AnnData):
        getattr(target, group)[key] = value
        return
    if group not in target:
        ad.io.write_elem(target, group, {})
    ad.io.write_elem(target[group], key, value)
    if group == "obs":
        order = [str(other) for other in target["obs"].attrs["column-order"] if other != key]
        target["obs"].attrs["column-order"] = np.array([*order, key], dtype=object)


def put_rows(target: Target, key: str, pieces: Iterable[NDArray[np.float32]], *, shape: tuple[int, int]) -> None:
    """Write an element of obsm whose rows come piece by piece; of a file's, memory holds one piece."""
    if isinstance(target, ad.AnnData):
        target.obsm[key] = np.concatenate(list(pieces))
        return
    put(target, "obsm", key, np.empty((0, shape[1]), dtype=np.float32))
    encoding = dict(target["obsm"][key].attrs)
    del target["obsm"][key]
    rows = target["obsm"].create_dataset(key, shape=shape, dtype=np.float32)
    rows.attrs.update(encoding)
    start = 0
    for piece in pieces:
        rows[start : start + len(piece)] = piece
        start += len(piece)
