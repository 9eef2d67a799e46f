"""Time and memory of `celllm embed` against the number of cells, one thread: `python perf/embed.py --json`.

Simulated cells of about 1,600 expressed genes under the names of the genes of the encoder in the package, written
uncompressed. A million cells need 26 GB of disk, half for the copy that has the embedding.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from line import line, options, show
from shards import run, write_h5ad

from celllm.annotate import folder as folders

MEAN_EXPRESSED = 1_616
"""Cell-weighted mean of PanglaoDB's table of samples."""


def figures(sizes: list[int], place: Path | None) -> Iterator[dict[str, Any]]:
    """Embed so many cells, size by size."""
    names = list(folders.read().vocabulary.symbols)
    peaks = []
    for n_cells in sorted(sizes):
        with tempfile.TemporaryDirectory(dir=place) as folder:
            source = Path(folder) / "simulated.h5ad"
            write_h5ad(source, n_cells, names, mean_nonzero=MEAN_EXPRESSED)
            found = run("embed", source, "-o", Path(folder) / "embedded.h5ad", "--threads", 1)
        peaks.append(found["rss_gb"])
        yield line(f"embed_cells_per_s_{n_cells}", n_cells / found["wall_s"], "cells/s")
        yield line(f"embed_cells_per_cpu_s_{n_cells}", n_cells / found["cpu_s"], "cells/s")
        yield line(f"embed_peak_rss_gb_{n_cells}", found["rss_gb"], "GB")
    yield line("embed_peak_rss_spread", max(peaks) / min(peaks) - 1, "share", at_most=0.10)


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--cells", type=int, nargs="+", default=[100_000, 1_000_000], help="sizes to measure")
    parser.add_argument("--folder", type=Path, help="where to put them; default: the system's temporary folder")
    args = parser.parse_args()
    show(figures(args.cells, args.folder), as_json=args.json)


if __name__ == "__main__":
    main()
