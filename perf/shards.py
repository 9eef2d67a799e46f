"""Time and memory from an h5ad file to shards, against the number of cells: `python perf/shards.py --json`.

Runs the workflow's own commands, align_cells and write_shards, as processes of their own and reads their peak resident
memory and time from the kernel. Cells are simulated at the sparsity of the paper's corpus: rows drawn from a pool
of 4,096, written uncompressed as AnnData does. A million cells need about 40 GB of disk and 15 minutes.
"""

from __future__ import annotations

import json
import os
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
    min_genes=200,
    citation=None,
    licence=None,
)
NAMES = {10_000: "10k", 100_000: "100k", 1_000_000: "1m"}
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
BAR_GB, BAR_SPREAD, BAR_RATE = 1.5, 0.10, 3_000


def write_h5ad(path: Path, n_cells: int, names: list[str] | None = None, *, mean_nonzero: int = MEAN_NONZERO) -> None:
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
    """Write a simulated gene annotation."""
    names = pd.Series([f"GENE{number}" for number in range(N_GENES)])
    table = pd.DataFrame({"hgnc_id": "HGNC:" + names, "symbol": names})
    table = table.assign(locus_group="protein-coding gene", status="Approved", prev_symbol="", alias_symbol="")
    table.assign(entrez_id="", ensembl_gene_id="").to_csv(folder / "hgnc.txt", sep="\t", index=False)
    raw.write("hgnc", [raw.describe(folder / "hgnc.txt")], folder / "hgnc.json")


def run(command: str, *arguments: object) -> dict[str, float]:
    """Run a command of ours; return its wall and CPU seconds and its peak resident memory in GB."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    argv = [sys.executable, "-W", "ignore", "-c", REPORTING, "celllm", command, *map(str, arguments)]
    started = time.perf_counter()
    done = subprocess.run(argv, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    wall_s = time.perf_counter() - started
    cpu_s, kib = map(float, done.stdout.split()[-2:])
    return {"wall_s": wall_s, "cpu_s": cpu_s, "rss_gb": kib * 1024 / 1e9}


def measure(n_cells: int, folder: Path) -> dict[str, Any]:
    """Take so many cells from h5ad to shards."""
    prepare(folder)
    run("build_vocabulary", "--hgnc", folder / "hgnc.json", "--vocabulary", folder / "genes.tsv")
    source = folder / "simulated.h5ad"
    write_h5ad(source, n_cells)
    raw.write("simulated", [raw.describe(source)], folder / "raw.json")
    cells = folder / "cells.h5ad"
    aligned = run(
        "align_cells",
        *("--dataset", as_json(ROW), "--raw", folder / "raw.json"),
        *("--hgnc", folder / "hgnc.json", "--vocabulary", folder / "genes.tsv"),
        *("--cells", cells, "--harmonisation", folder / "harmonisation.json"),
    )
    source.unlink()
    manifest = folder / "shards" / "manifest.json"
    sharded = run(
        "write_shards",
        *("--cells", cells, "--vocabulary", folder / "genes.tsv", "--seed", 0, "--manifest", manifest),
    )
    written = json.loads(manifest.read_text())
    n_bytes = sum(sum(entry["bytes"].values()) for entry in written["shards"])
    return {
        "cells": n_cells,
        "nonzero": written["n_nonzero"],
        "bytes_per_nonzero": n_bytes / written["n_nonzero"],
        "cells_gb": cells.stat().st_size / 1e9,
        "shards_gb": n_bytes / 1e9,
        "align": aligned,
        "shard": sharded,
    }


def figures(rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the lines of what was measured."""
    peaks, rate = [], 0.0
    for row in rows:
        name = NAMES.get(row["cells"], str(row["cells"]))
        rate = row["cells"] / (row["align"]["wall_s"] + row["shard"]["wall_s"])
        peaks.append(max(row["align"]["rss_gb"], row["shard"]["rss_gb"]))
        yield line(f"shard_cells_per_s_per_core_{name}", rate, "cells/s", at_least=BAR_RATE)
        yield line(f"shard_peak_rss_gb_{name}", peaks[-1], "GB", at_most=BAR_GB)
        yield line(f"shard_bytes_per_nonzero_{name}", row["bytes_per_nonzero"], "bytes")
    yield line("shard_peak_rss_spread", max(peaks) / min(peaks) - 1, "share", at_most=BAR_SPREAD)
    yield line("shard_hours_1764921_cells_computed", CELLS_OF_THE_PAPER / rate / 3600, "hours of one core")
    gb = CELLS_OF_THE_PAPER * rows[-1]["shards_gb"] / rows[-1]["cells"]
    yield line("shard_gb_1764921_cells_computed", gb, "GB")


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw memory and time against cells, each with the value computed for the paper's corpus."""
    from matplotlib.figure import Figure

    cells = [row["cells"] for row in rows]
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    memory, seconds = figure.subplots(1, 2)
    for step, colour in (("align", "#0072B2"), ("shard", "#D55E00")):
        name = {"align": "align_cells", "shard": "write_shards"}[step]
        memory.plot(cells, [row[step]["rss_gb"] for row in rows], "o-", color=colour, label=name)
        walls = [row[step]["wall_s"] for row in rows]
        seconds.plot(cells, walls, "o-", color=colour, label=name)
        computed = walls[-1] * CELLS_OF_THE_PAPER / cells[-1]
        seconds.plot([CELLS_OF_THE_PAPER], [computed], "o", mfc="none", color=colour)
    memory.axhline(BAR_GB, color="grey", linestyle=":", label="bar")
    memory.set(xscale="log", ylim=(0, None), xlabel="simulated cells", ylabel="peak resident memory (GB)")
    seconds.plot([], [], "o", mfc="none", color="grey", label="1,764,921 cells, computed")
    seconds.set(xscale="log", yscale="log", xlabel="simulated cells", ylabel="wall seconds, one core")
    for axis in (memory, seconds):
        axis.legend(fontsize=8)
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--cells", type=int, nargs="+", default=[10_000, 100_000, 1_000_000], help="sizes to measure")
    parser.add_argument("--folder", type=Path, help="where to put them; default: the system's temporary folder")
    parser.add_argument("--figure", type=Path, help="draw memory and time against cells into this file")
    args = parser.parse_args()
    rows = []
    for n_cells in sorted(args.cells):
        with tempfile.TemporaryDirectory(dir=args.folder) as folder:
            rows.append(measure(n_cells, Path(folder)))
            say(json.dumps(rows[-1]))
    show(figures(rows), as_json=args.json)
    if args.figure is not None:
        draw(rows, args.figure)


if __name__ == "__main__":
    main()
