"""Write the pretraining corpus as shards: all cells but the test cells of any task, in random order."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import anndata as ad

from celllm.cli.entry import run
from celllm.contracts import counts, splits, vocabulary
from celllm.contracts.vocabulary import Vocabulary
from celllm.provenance import stamp
from celllm.shards import writer


def parser() -> argparse.ArgumentParser:
    """Declare the options."""
    options = argparse.ArgumentParser(prog="celllm.cli.write_shards", description=__doc__, allow_abbrev=False)
    options.add_argument("--cells", required=True, type=Path, nargs="+", help="aligned cells of the corpus")
    options.add_argument("--exclude", type=Path, nargs="*", default=[], help="splits whose test cells stay out")
    options.add_argument("--vocabulary", required=True, type=Path, help="genes.tsv")
    options.add_argument("--seed", required=True, type=int, help="of the order of the cells")
    options.add_argument("--shard-cells", type=int, default=20_000, help="cells in a shard")
    options.add_argument("--stage", default="write_shards", help="name and version of the stage")
    options.add_argument("--manifest", required=True, type=Path, help="where to write the manifest, shards beside it")
    return options


def one_at_a_time(files: Sequence[Path], genes: Vocabulary) -> Iterator[tuple[Path, ad.AnnData]]:
    """Read aligned cells, file after file."""
    for file in files:
        yield file, counts.read(file, vocabulary=genes)


def main(argv: Sequence[str] | None = None) -> None:
    """Read the cells and the splits, shuffle, write."""
    args = parser().parse_args(argv)
    genes = vocabulary.read(args.vocabulary)
    excluded = {unit for file in args.exclude for unit in splits.read(file).units_of("test")}
    inputs = {f"cells {file.stem}": file for file in args.cells}
    written = writer.write(
        one_at_a_time(args.cells, genes),
        args.manifest,
        vocabulary=genes.digest,
        n_genes=genes.n_genes,
        excluded=excluded,
        shard_cells=args.shard_cells,
        seed=args.seed,
        provenance=stamp(args.stage, inputs, seed=args.seed),
    )
    n_excluded = sum(share["excluded_test"] for share in written.datasets.values())
    print(f"{written.n_cells} cells in {len(written.shards)} shards; {n_excluded} test cells left out")


if __name__ == "__main__":
    run(main)
