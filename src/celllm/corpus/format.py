"""Shards: pretraining cells without labels, each data set in a folder of its own, and manifests that list them.

A shard `shard-00000` is five files. Three are a CSR matrix cells x vocabulary genes, to be
memory-mapped: `.indptr.npy` (int64, n_cells + 1), `.genes.npy` and `.counts.npy` (uint16). A count above 65,534
stands as 65,535 there and in full in `.large.npy` (int64, n x 2: place in `.counts.npy`, count; by place).
`.cells.parquet` has cell_id, dataset, sample, study, is_malignant, cell_hash. No label stands in any of them.

`results/shards/{dataset}/manifest.json` lists the shards beside it, cells as in their source;
`results/shards/manifest.json` those of all data sets. Beside it `order.npy` (uint32) is the shuffle: cell n of the
corpus is number order[n] of its shards, one behind the other. A manifest is written last and removed first, so an
interrupted run has none. docs/shards.md shows how other programs read them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, TypedDict

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from celllm.base.atomic import writing
from celllm.base.errors import InputError
from celllm.base.parquet import read_frame
from celllm.base.provenance import digest, digest_of

FORMAT: Final = "celllm-shards-3"
LARGEST: Final = int(np.iinfo(np.uint16).max)
"""Largest gene index that a shard can hold; as a count it says that the count stands in `.large.npy`."""
NPY_HEADER: Final = 128
"""Bytes before the numbers of a vector in NumPy's format."""
REMEDY: Final = "rebuild them: snakemake --forcerun write_shards"

Part = Literal["indptr.npy", "genes.npy", "counts.npy", "large.npy", "cells.parquet"]
PARTS: Final[tuple[Part, ...]] = ("indptr.npy", "genes.npy", "counts.npy", "large.npy", "cells.parquet")
CELLS: Final = pa.schema(
    {
        "cell_id": pa.string(),
        "dataset": pa.string(),
        "sample": pa.string(),
        "study": pa.string(),
        "is_malignant": pa.int8(),
        "cell_hash": pa.string(),
    }
)
"""Columns of the table of cells."""


class DatasetShare(TypedDict):
    """What became of a dataset's cells."""

    kept: int
    excluded_test: int
    """Left out, because the data set is a task and the cell a test cell of one of its seeds."""
    excluded_equal: int
    """Left out, because the cell has the counts of a benchmark cell, whatever its name."""
    simulated: bool


@dataclass(frozen=True)
class ShardEntry:
    """One shard as the manifest lists it; sizes and checksums by part."""

    name: str
    """Its files' path from the manifest, without their endings."""
    n_cells: int
    n_nonzero: int
    bytes: dict[str, int]
    sha256: dict[str, str]


@dataclass(frozen=True)
class ShardManifest:
    """All shards, and where their cells come from."""

    vocabulary: str
    """Digest of the gene axis."""
    n_genes: int
    n_cells: int
    n_nonzero: int
    datasets: dict[str, DatasetShare]
    shards: tuple[ShardEntry, ...]
    provenance: Mapping[str, Any]
    order: str | None = None
    """Sha256 of `order.npy`; None where the cells are as in their shards."""

    @property
    def digest(self) -> str:
        """Sha256 of the content, in hex; who wrote it and when do not count."""
        values = asdict(self)
        del values["provenance"]
        return digest_of(values)


class Shard(NamedTuple):
    """The matrix of a shard as memory-mapped CSR arrays."""

    indptr: NDArray[np.int64]
    genes: NDArray[np.uint16]
    counts: NDArray[np.uint16]
    large: NDArray[np.int64]
    """n x 2: place in `counts`, count; by place."""


def file_of(manifest: Path | str, name: str, part: Part) -> Path:
    """Return where a part of a shard lies."""
    return Path(manifest).parent / f"{name}.{part}"


def shard_of(indptr: NDArray[np.int64], genes: NDArray[np.uint16], counts: NDArray[np.integer]) -> Shard:
    """Make a shard of a CSR matrix; counts may be of any integer type."""
    places = np.flatnonzero(counts >= LARGEST)
    large = np.stack([places, counts[places].astype(np.int64)], axis=1)
    narrow = counts.astype(np.uint16)
    narrow[places] = LARGEST
    return Shard(indptr, genes, narrow, large)


def write_shard(manifest: Path | str, name: str, shard: Shard, cells: pa.Table) -> ShardEntry:
    """Write one shard beside the manifest-to-be and describe it.

    `cells` has one row a cell of the shard; of its columns only those of the format are kept, so no label comes in.
    """
    files = {part: file_of(manifest, name, part) for part in PARTS}
    for file, array, dtype in zip(files.values(), shard, (np.int64, np.uint16, np.uint16, np.int64), strict=False):
        _save(file, np.asarray(array, dtype=dtype))
    with writing(files["cells.parquet"]) as part:
        pq.write_table(cells.select(CELLS.names).cast(CELLS), part)
    return ShardEntry(
        name=name,
        n_cells=len(cells),
        n_nonzero=len(shard.genes),
        bytes={part: file.stat().st_size for part, file in files.items()},
        sha256={part: digest(file) for part, file in files.items()},
    )


def open_shard(manifest: Path | str, entry: ShardEntry) -> Shard:
    """Map a shard's matrix into memory; nothing is read before it is asked for."""
    files = [file_of(manifest, entry.name, part) for part in PARTS if part.endswith(".npy")]
    return Shard(*(np.load(file, mmap_mode="r", allow_pickle=False) for file in files))


def read_cells(manifest: Path | str, entry: ShardEntry, columns: list[str] | None = None) -> pd.DataFrame:
    """Read what is known of a shard's cells, in the order of its rows; all columns, or those named."""
    return read_frame(file_of(manifest, entry.name, "cells.parquet"), columns=columns)


def discard(path: Path | str) -> None:
    """Remove a manifest and then order and shards beside it, whole or half-written."""
    path = Path(path)
    path.unlink(missing_ok=True)
    for file in (*path.parent.glob("shard-[0-9]*.*"), *path.parent.glob("order.npy*")):
        file.unlink()


def write_order(manifest: Path | str, order: NDArray[np.uint32]) -> str:
    """Write the shuffle beside the manifest-to-be; return its sha256."""
    file = Path(manifest).with_name("order.npy")
    _save(file, order)
    return digest(file)


def _save(file: Path, array: NDArray[Any]) -> None:
    with writing(file) as part, part.open("wb") as stream:
        np.save(stream, array, allow_pickle=False)


def open_order(manifest: Path | str) -> NDArray[np.uint32]:
    """Map the shuffle into memory."""
    order: NDArray[np.uint32] = np.load(Path(manifest).with_name("order.npy"), mmap_mode="r", allow_pickle=False)
    return order


def write(manifest: ShardManifest, path: Path | str) -> None:
    """Write the manifest; the shards must stand already."""
    with writing(path) as part:
        values = {"format": FORMAT, **asdict(manifest)}
        part.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def read(path: Path | str) -> ShardManifest:
    """Read a manifest; InputError if it is missing or no manifest, or a shard's file is missing or of another size."""
    path = Path(path)
    if not path.is_file():
        raise InputError(
            file=path,
            field="(whole file)",
            expected="a manifest of shards",
            found="no such file",
            remedy="make it: snakemake join_shards",
        )
    manifest = _parse(path)
    sizes = {file_of(path, entry.name, part): entry.bytes[part] for entry in manifest.shards for part in PARTS}
    if manifest.order is not None:
        sizes[path.with_name("order.npy")] = NPY_HEADER + 4 * manifest.n_cells
    for file, n_bytes in sizes.items():
        found = f"{file.stat().st_size} bytes" if file.is_file() else "no such file"
        if found != f"{n_bytes} bytes":
            field, expected = f"shards: {file.relative_to(path.parent)}", f"{file} of {n_bytes} bytes"
            raise InputError(file=path, field=field, expected=expected, found=found, remedy=REMEDY)
    return manifest


def _parse(path: Path) -> ShardManifest:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        found = values.pop("format")
        shards = tuple(ShardEntry(**entry) for entry in values.pop("shards"))
        manifest = ShardManifest(**values, shards=shards)
        complete = all(set(PARTS) == set(entry.bytes) == set(entry.sha256) for entry in shards)
    except (json.JSONDecodeError, AttributeError, KeyError, TypeError) as error:
        found, complete = f"{type(error).__name__}: {error}", False
    if found != FORMAT or not complete:
        raise InputError(file=path, field="format", expected=FORMAT, found=str(found), remedy=REMEDY)
    return manifest
