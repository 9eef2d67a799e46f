"""Time and memory from an h5ad file to shards, against the number of cells: `python perf/shards.py --json`.

Runs the workflow's own commands, align_cells, write_shards and join_shards, as processes of their own and reads their
peak resident memory and time from the kernel. Cells are simulated, all in one data set: rows drawn from a pool of
4,096, written uncompressed as AnnData does, and aligned. More cells than a million are the same million again and again
(an HDF5 virtual file), so that they cost no disk before they are shards. Ten million of 600 expressed genes need 30 GB
of disk and half an hour.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anndata as ad
import h5py
import numpy as np
import pandas as pd
from line import ROOT, line, options, say, show
from simulated import MEAN_NONZERO, N_GENES, drawn_from, pool

from celllm.config.rows import as_json
from celllm.config.tables import Dataset
from celllm.corpus import format as shards
from celllm.corpus.reader import ShardReader
from celllm.sources import raw

CELLS_OF_THE_PAPER = 1_764_921
ROW = Dataset(
    dataset="simulated",
    title="Simulated",
    role="corpus",
    reader="h5ad",
    units="counts",
    simulated=True,
    label_column=None,
    sample_column="sample",
    malignancy="normal",
    min_genes=1,
    citation=None,
    licence=None,
)
ALIGNED = 1_000_000
"""Cells that are aligned, at most."""
COMPUTED = 100_000_000
REPORTING = """
import re, runpy, sys, time
sys.argv = sys.argv[1:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
status = open("/proc/self/status").read()
print(time.process_time(), re.search(r"VmHWM:\\s+(\\d+)", status)[1])
"""
"""Runs a command, then prints its CPU seconds and the kernel's high-water mark of its resident memory (KiB).

getrusage would not do: a child starts with the high-water mark of the process that forked it.
"""
BAR_GB, BAR_SPREAD = 1.5, 0.10
BLOCK, DISK_BYTES = 1 << 24, 1 << 32


def write_h5ad(path: Path, n_cells: int, names: list[str] | None = None, *, mean_nonzero: int) -> None:
    """Write simulated cells piece by piece, in the form of AnnData; `names` are those of its genes."""
    names = names or [f"GENE{number}" for number in range(N_GENES)]
    cells = pool(n_genes=len(names), mean_nonzero=mean_nonzero)
    with h5py.File(path, "w") as file:
        file.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
        group = file.create_group("X")
        group.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": (n_cells, len(names))})
        for name, dtype in (("data", np.int32), ("indices", np.int32)):
            group.create_dataset(name, shape=(0,), maxshape=(None,), dtype=dtype, chunks=(1 << 18,))
        sizes = []
        for matrix in drawn_from(cells, n_cells):
            start = group["data"].shape[0]
            for name in ("data", "indices"):
                group[name].resize((start + matrix.nnz,))
                group[name][start:] = getattr(matrix, name)
            sizes.append(np.diff(matrix.indptr))
        group["indptr"] = np.concatenate([[0], np.cumsum(np.concatenate(sizes))]).astype(np.int64)
        obs = pd.DataFrame({"sample": pd.Categorical(np.arange(n_cells) // 5_000)})
        obs.index = [f"simulated-{number:07d}-1" for number in range(n_cells)]
        obs["sample"] = obs["sample"].cat.rename_categories(str)
        ad.io.write_elem(file, "obs", obs)
        ad.io.write_elem(file, "var", pd.DataFrame(index=names))


def prepare(folder: Path) -> None:
    """Write a simulated gene annotation and its vocabulary."""
    names = pd.Series([f"GENE{number}" for number in range(N_GENES)])
    table = pd.DataFrame({"hgnc_id": "HGNC:" + names, "symbol": names})
    table = table.assign(locus_group="protein-coding gene", status="Approved", prev_symbol="", alias_symbol="")
    table.assign(entrez_id="", ensembl_gene_id="").to_csv(folder / "hgnc.txt", sep="\t", index=False)
    raw.write("hgnc", [raw.describe(folder / "hgnc.txt")], folder / "hgnc.json")
    run("build_vocabulary", "--hgnc", folder / "hgnc.json", "--vocabulary", folder / "genes.tsv")


def run(command: str, *arguments: object) -> dict[str, float]:
    """Run a command of ours; return its wall and CPU seconds and its peak resident memory in GB."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    argv = [sys.executable, "-W", "ignore", "-c", REPORTING, "celllm", command, *map(str, arguments)]
    started = time.perf_counter()
    done = subprocess.run(argv, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    wall_s = time.perf_counter() - started
    cpu_s, kib = map(float, done.stdout.split()[-2:])
    return {"wall_s": wall_s, "cpu_s": cpu_s, "rss_gb": kib * 1024 / 1e9}


def repeat(source: Path, path: Path, n_times: int) -> None:
    """Link aligned cells into a file that has them so many times, one behind the other."""

    def put(name: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Group):
            file.require_group(name).attrs.update(item.attrs)
        elif name == "X/indptr":
            ends = item[1:]
            file[name] = np.concatenate([[0], *(ends + number * ends[-1] for number in range(n_times))])
            file["X"].attrs["shape"] = (n_times * len(ends), of["X"].attrs["shape"][1])
        elif name.startswith(("X/", "obs/")) and not name.endswith("/categories"):
            layout = h5py.VirtualLayout((n_times * len(item),), item.dtype)
            for start in range(0, n_times * len(item), len(item)):
                layout[start : start + len(item)] = h5py.VirtualSource(item)
            file.create_virtual_dataset(name, layout).attrs.update(item.attrs)
        else:
            of.copy(item, file, name)

    with h5py.File(source) as of, h5py.File(path, "w") as file:
        file.attrs.update(of.attrs)
        of.visititems(put)


def align(n_cells: int, folder: Path, mean_nonzero: int) -> dict[str, float]:
    """Take so many cells from h5ad to `cells.h5ad`."""
    source = folder / "simulated.h5ad"
    write_h5ad(source, n_cells, mean_nonzero=mean_nonzero)
    raw.write("simulated", [raw.describe(source)], folder / "raw.json")
    aligned = run(
        "align_cells",
        *("--dataset", as_json(ROW), "--raw", folder / "raw.json"),
        *("--hgnc", folder / "hgnc.json", "--vocabulary", folder / "genes.tsv"),
        *("--cells", folder / "cells.h5ad", "--harmonisation", folder / "harmonisation.json"),
    )
    source.unlink()
    return aligned


def shard(cells: Path, folder: Path) -> dict[str, Any]:
    """Take aligned cells to shards, which are removed again."""
    part, manifest = folder / "shards" / "simulated" / "manifest.json", folder / "shards" / "manifest.json"
    written = run("write_shards", "--cells", cells, "--vocabulary", folder / "genes.tsv", "--manifest", part)
    joined = run("join_shards", "--shards", part, "--seed", 0, "--manifest", manifest)
    found = shards.read(manifest)
    n_bytes = sum(sum(entry.bytes.values()) for entry in found.shards)
    reader = ShardReader(manifest)
    drawn = np.random.default_rng(0).integers(0, found.n_cells, 64)
    assert np.diff(reader.rows(drawn).indptr).min() > 0
    del reader
    shutil.rmtree(folder / "shards")
    sizes = {"cells": found.n_cells, "nonzero": found.n_nonzero, "shards_gb": n_bytes / 1e9}
    return sizes | {"write": written, "join": joined, "disk_gb_per_s": disk_rate(folder), "copy_gb_per_s": copy_rate()}


def disk_rate(folder: Path) -> float:
    """Return GB/s of plain writes, until the disk has them."""
    block = os.urandom(BLOCK)
    started = time.perf_counter()
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(DISK_BYTES // BLOCK):
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
        return DISK_BYTES / 1e9 / (time.perf_counter() - started)


def copy_rate() -> float:
    """Return GB/s of copying memory."""
    source, target = np.ones((2, 1 << 29), dtype=np.uint8)
    started = time.perf_counter()
    np.copyto(target, source)
    return len(source) / 1e9 / (time.perf_counter() - started)


def figures(rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the lines of what was measured."""
    for row in rows:
        name = f"{row['cells'] / 1e6:g}m"
        yield line(f"genes_a_cell_{name}", row["nonzero"] / row["cells"], "genes")
        for step in ("align", "write", "join"):
            if step in row:
                yield line(f"{step}_wall_s_{name}", row[step]["wall_s"], "s")
                yield line(f"{step}_cpu_s_{name}", row[step]["cpu_s"], "s")
                yield line(f"{step}_peak_rss_gb_{name}", row[step]["rss_gb"], "GB", at_most=BAR_GB)
        yield line(f"shards_gb_{name}", row["shards_gb"], "GB")
        yield line(f"bytes_a_nonzero_{name}", row["shards_gb"] * 1e9 / row["nonzero"], "bytes")
        rate = row["shards_gb"] / row["write"]["wall_s"]
        for peer, told in (("disk_gb_per_s", "plain writes"), ("copy_gb_per_s", "a copy in memory")):
            ratio = rate / row[peer]
            yield line(f"write_{peer}_{name}", rate, "GB/s", peer=f"{told}: {row[peer]:.2f} GB/s", ratio=ratio)
    peaks = [row["write"]["rss_gb"] for row in rows if row["cells"] >= ALIGNED]
    if peaks:
        yield line("write_peak_rss_spread_from_1m", max(peaks) / min(peaks) - 1, "share", at_most=BAR_SPREAD)
    for n_cells in (CELLS_OF_THE_PAPER, COMPUTED):
        times = n_cells / rows[-1]["cells"]
        hours = times * rows[-1]["write"]["cpu_s"] / 3600
        yield line(f"write_cpu_hours_{n_cells}_computed", hours, "hours of one core")
        yield line(f"shards_gb_{n_cells}_computed", times * rows[-1]["shards_gb"], "GB")


def main() -> None:
    parser = options(__doc__)
    sizes = [100_000, 1_000_000, 3_000_000, 10_000_000]
    parser.add_argument("--cells", type=int, nargs="+", default=sizes, help="sizes; above a million, whole millions")
    parser.add_argument("--genes", type=int, default=MEAN_NONZERO, help="expressed genes of a cell, in the mean")
    parser.add_argument("--folder", type=Path, help="where to put them; default: the system's temporary folder")
    args = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        folder = Path(name)
        prepare(folder)
        for n_cells in sorted(args.cells):
            cells = folder / "cells.h5ad"
            if n_cells <= ALIGNED:
                rows.append({"align": align(n_cells, folder, args.genes)})
            else:
                cells = folder / "repeated.h5ad"
                repeat(folder / "cells.h5ad", cells, n_cells // ALIGNED)
                rows.append({})
            rows[-1] |= shard(cells, folder)
            say(json.dumps(rows[-1]))
    show(figures(rows), as_json=args.json)


if __name__ == "__main__":
    main()
