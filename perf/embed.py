"""Time and memory of `celllm embed` against the number of cells, one thread: `python perf/embed.py --json`.

Simulated cells of about 1,600 expressed genes under the names of the genes of the encoder in the package, written
uncompressed. A million cells need 26 GB of disk, half for the copy that has the embedding.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from line import line, show
from shards import run, write_h5ad

from celllm.annotate import folder as folders

MEAN_EXPRESSED = 1_616
"""Cell-weighted mean of PanglaoDB's table of samples."""
BAR_SPREAD = 0.10


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--json", action="store_true", help="one JSON object a line")
    options.add_argument("--cells", type=int, nargs="+", default=[100_000, 1_000_000], help="sizes to measure")
    options.add_argument("--folder", type=Path, help="where to put them; default: the system's temporary folder")
    args = options.parse_args()
    names = list(folders.read().vocabulary.symbols)
    peaks = []
    for n_cells in sorted(args.cells):
        with tempfile.TemporaryDirectory(dir=args.folder) as folder:
            source = Path(folder) / "simulated.h5ad"
            write_h5ad(source, n_cells, names, mean_nonzero=MEAN_EXPRESSED)
            found = run("embed", source, "-o", Path(folder) / "embedded.h5ad", "--threads", 1)
        peaks.append(found["rss_gb"])
        figures = [
            line("embed_cells_per_s", n_cells / found["wall_s"], "cells/s"),
            line("embed_cells_per_cpu_s", n_cells / found["cpu_s"], "cells/s"),
            line("embed_peak_rss_gb", found["rss_gb"], "GB"),
        ]
        for figure in figures:
            show(figure | {"name": f"{figure['name']}_{n_cells}"}, as_json=args.json)
    spread = max(peaks) / min(peaks) - 1
    show(line("embed_peak_rss_spread", spread, "share", bar=BAR_SPREAD, ok=spread <= BAR_SPREAD), as_json=args.json)


if __name__ == "__main__":
    main()
