"""Write the pretraining corpus as shards: all cells but the test cells of any task, in random order."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Sequence
from pathlib import Path

from celllm.base.entry import run
from celllm.base.heap import return_large_blocks
from celllm.base.provenance import stamp
from celllm.corpus import writer
from celllm.corpus.writer import Excluded
from celllm.harmonise import cells as cells_file
from celllm.harmonise import vocabulary
from celllm.splits import format as splits


def parser() -> argparse.ArgumentParser:
    """Declare the options."""
    options = argparse.ArgumentParser(prog="celllm write_shards", description=__doc__, allow_abbrev=False)
    options.add_argument("--cells", required=True, type=Path, nargs="+", help="aligned cells of the corpus")
    options.add_argument("--exclude", type=Path, nargs="*", default=[], help="splits whose test cells stay out")
    options.add_argument(
        "--benchmark-cells",
        type=Path,
        nargs="*",
        default=[],
        help="aligned cells of the tasks; cells with equal counts stay out of the corpus",
    )
    options.add_argument("--vocabulary", required=True, type=Path, help="genes.tsv")
    options.add_argument("--seed", required=True, type=int, help="of the order of the cells")
    options.add_argument("--shard-cells", type=int, default=8_192, help="cells in a shard")
    options.add_argument("--stage", default="write_shards", help="name and version of the stage")
    options.add_argument("--manifest", required=True, type=Path, help="where to write the manifest, shards beside it")
    return options


def benchmark_hashes(files: Sequence[Path], corpus: Sequence[Path], tested: Collection[str]) -> dict[str, set[str]]:
    """Collect, by dataset, the hashes of benchmark cells.

    Of a dataset that is in the corpus too these are its test cells only, else the corpus could not hold it.
    """
    own = {file.resolve() for file in corpus}
    found: dict[str, set[str]] = {}
    for file in files:
        hashes = found.setdefault(str(cells_file.header(file)["dataset"]), set())
        for obs in cells_file.obs_pieces(file):
            chosen = obs[obs.index.isin(tested)] if file.resolve() in own else obs
            hashes.update(chosen["cell_hash"])
    return found


def main(argv: Sequence[str] | None = None) -> None:
    """Read the cells and the splits, shuffle, write."""
    args = parser().parse_args(argv)
    return_large_blocks()
    genes = vocabulary.read(args.vocabulary)
    tested = {unit for file in args.exclude for unit in splits.read(file).units_of("test")}
    inputs = {f"cells {file.stem}": file for file in args.cells}
    written = writer.write(
        args.cells,
        args.manifest,
        vocabulary=genes.digest,
        n_genes=genes.n_genes,
        excluded=Excluded(ids=tested, hashes=benchmark_hashes(args.benchmark_cells, args.cells, tested)),
        shard_cells=args.shard_cells,
        seed=args.seed,
        provenance=stamp(args.stage, inputs, seed=args.seed),
    )
    n_tested = sum(share["excluded_test"] for share in written.datasets.values())
    n_equal = sum(share["excluded_equal"] for share in written.datasets.values())
    print(
        f"{written.n_cells} cells in {len(written.shards)} shards; left out: {n_tested} test cells, and {n_equal} "
        "cells with the counts of a benchmark cell"
    )


if __name__ == "__main__":
    run(main)
