"""The command of the pretraining corpus."""

from __future__ import annotations

from pathlib import Path

from celllm.base.app import commands

app = commands()


@app.command
def write_shards(
    *,
    cells: list[Path],
    exclude: list[Path] | None = None,
    benchmark_cells: list[Path] | None = None,
    vocabulary: Path,
    seed: int,
    shard_cells: int = 8_192,
    stage: str = "write_shards",
    manifest: Path,
) -> None:
    r"""Write the pretraining corpus as shards: all cells but the test cells of any task, in random order.

    Parameters
    ----------
    cells
        aligned cells of the corpus
    exclude
        splits whose test cells stay out, or manifests of splits
    benchmark_cells
        aligned cells of the tasks; cells with equal counts stay out of the corpus
    vocabulary
        the vocabulary's genes.tsv
    seed
        random seed of the order of the cells
    shard_cells
        cells in a shard
    stage
        name and version of the workflow's stage
    manifest
        manifest to write, with the shards beside it

    Example::

        celllm write_shards --cells results/cells/*.h5ad --exclude results/splits/annotation_pbmc68k/*.parquet \
            --vocabulary results/vocabulary/genes.tsv --seed 0 --manifest results/shards/manifest.json
    """
    from celllm.base.heap import return_large_blocks
    from celllm.base.provenance import stamp
    from celllm.corpus import writer
    from celllm.harmonise import vocabulary as vocabulary_file
    from celllm.splits import format as split_file

    return_large_blocks()
    genes = vocabulary_file.read(vocabulary)
    tested = {unit for file in split_file.files_of(exclude or ()) for unit in split_file.read(file).units_of("test")}
    hashes = writer.benchmark_hashes(benchmark_cells or (), cells, tested)
    written = writer.write(
        cells,
        manifest,
        vocabulary=genes.digest,
        n_genes=genes.n_genes,
        tested=tested,
        hashes=hashes,
        shard_cells=shard_cells,
        seed=seed,
        provenance=stamp(stage, {f"cells {file.stem}": file for file in cells}, seed=seed),
    )
    n_tested = sum(share["excluded_test"] for share in written.datasets.values())
    n_equal = sum(share["excluded_equal"] for share in written.datasets.values())
    print(
        f"{written.n_cells} cells in {len(written.shards)} shards; left out: {n_tested} test cells, and {n_equal} "
        "cells with the counts of a benchmark cell"
    )
